// Package peerkey says which 32 bytes may be the Ed25519 public key of a peer.
package peerkey

import (
	"crypto/ed25519"
	"errors"
	"fmt"
)

// Valid reports whether key may be a peer's public key: it is the canonical
// encoding of its y coordinate, and its point is not of small order.
//
// A point of small order is a public key without a secret: for such a point A the
// equation [S]B = R + [h]A of RFC 8032 §5.1.7 holds for S = 0 and R = -[h]A, so
// that any peer can sign in its name. Go's crypto/ed25519 accepts these signatures.
// A second encoding of one point would give one secret two peer IDs.
//
// Valid does not decompress the point: bytes that are not on the curve, about half
// of all, verify no signature and so do no harm. It accepts points of mixed order
// (a point of the prime-order group plus one of small order): only the holder of a
// secret can sign for them, as long as verification does not multiply by the
// cofactor. Keys generated from a seed are always of prime order.
//
// All zero bytes are the encoding of a point of order 4, so the zero key is not
// valid.
func Valid(key [32]byte) bool {
	// Only these highest bytes need a closer look: one in 32.
	switch key[31] & 0x7f {
	case 0x00, 0x05, 0x7a, 0x7f:
	default:
		return true
	}
	key[31] &= 0x7f // the sign of x
	for _, y := range smallOrder {
		if key == y {
			return false
		}
	}
	return less(key, p)
}

// Check returns an error unless key is a whole private key of a valid public key,
// whose two halves belong together. The key that Go's crypto/ed25519 or a key file
// gives always is. It costs as much as a signature, 20 µs.
func Check(key ed25519.PrivateKey) error {
	switch {
	case len(key) != ed25519.PrivateKeySize:
		return fmt.Errorf("private key of %d bytes, want %d", len(key), ed25519.PrivateKeySize)
	case !key.Equal(ed25519.NewKeyFromSeed(key.Seed())):
		return errors.New("the public half of the private key is not that of its secret half")
	}
	return nil // a secret makes a point of the prime-order group, never of small order
}

// smallOrder are the y coordinates of the eight points whose order divides 8, in
// little-endian bytes. A point and its negative share one. Setting the sign bit of
// the two with x = 0 gives their non-canonical encodings.
var smallOrder = [...][32]byte{
	{},  // order 4: y = 0
	{1}, // order 1: the neutral element
	{ // order 2: y = -1
		0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
	},
	{ // order 8
		0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
		0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
	},
	{ // order 8
		0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
		0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
	},
}

// p is the order of the field, 2^255 - 19, in little-endian bytes.
var p = [32]byte{
	0xed, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
}

// less compares little-endian numbers.
func less(a, b [32]byte) bool {
	for i := len(a) - 1; i >= 0; i-- {
		if a[i] != b[i] {
			return a[i] < b[i]
		}
	}
	return false
}
