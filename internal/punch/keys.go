package punch

import (
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/sha256"
	"slices"
)

// Keys are the keys and IDs of the probes of one call, at one of its ends.
type Keys struct {
	out, in direction
}

const (
	labelCall = "kadquic punch v1"
	labelOpen = "kadquic punch v1 open"
)

// NewKeys derives the keys of a call from our key and the peer's public key, both drawn for
// the call. It fails if the peer's key is of small order.
func NewKeys(own *ecdh.PrivateKey, peer [32]byte, caller bool) (Keys, error) {
	public, err := ecdh.X25519().NewPublicKey(peer[:])
	if err != nil {
		return Keys{}, err
	}
	secret, err := own.ECDH(public) // fails for the points of small order
	if err != nil {
		return Keys{}, err
	}
	first, second := own.PublicKey().Bytes(), peer[:]
	if !caller {
		first, second = second, first
	}
	ds, err := directions(secret, labelCall+string(first)+string(second), 2)
	if err != nil {
		return Keys{}, err
	}
	if caller {
		return Keys{out: ds[0], in: ds[1]}, nil
	}
	return Keys{out: ds[1], in: ds[0]}, nil
}

// openDirection derives the key and ID of OPEN.
func openDirection(caller [32]byte) (direction, error) {
	ds, err := directions(caller[:], labelOpen, 1)
	if err != nil {
		return direction{}, err
	}
	return ds[0], nil
}

func directions(secret []byte, info string, n int) ([]direction, error) {
	const size = len(direction{}.id) + len(direction{}.key)
	b, err := hkdf.Key(sha256.New, secret, nil, info, n*size)
	if err != nil {
		return nil, err
	}
	var ds []direction
	for c := range slices.Chunk(b, size) {
		ds = append(ds, direction{ID(c[:8]), [32]byte(c[8:])})
	}
	return ds, nil
}
