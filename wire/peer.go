package wire

import (
	"errors"
	"fmt"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/internal/peerkey"
	"github.com/kadquic/kadquic/routing"
)

// A PeerID is a peer's Ed25519 public key. It is comparable, so it can be a
// map key; the zero value means no peer.
//
// In text it is a libp2p peer ID (12D3KooW…), which contains the key itself:
//
//	00 24          identity multihash of 36 bytes
//	08 01 12 20    protobuf: key type Ed25519, data of 32 bytes
//	…              the public key
//
// in base58btc.
type PeerID [32]byte

// peerIDPrefix precedes the key in the multihash.
const peerIDPrefix = "\x00\x24\x08\x01\x12\x20"

// maxPeerIDText bounds the text given to the base decoders, of which base58 is
// quadratic. The longest form of an Ed25519 key, CIDv1 in base 2, has 321.
const maxPeerIDText = 336

// ErrPeerID reports an ID that is not the ID of an Ed25519 key, and a key that is
// not valid ([PeerID.IsValid]).
var ErrPeerID = errors.New("wire: not an Ed25519 peer ID")

// ParsePeerID reads a peer ID as String writes it, or as a CIDv1 of codec
// libp2p-key (bafz…, k51…). The error wraps ErrPeerID.
func ParsePeerID(s string) (PeerID, error) {
	if len(s) > maxPeerIDText {
		return PeerID{}, fmt.Errorf("peer ID of %d characters: %w", len(s), ErrPeerID)
	}
	c, err := ma.NewComponent("p2p", s)
	if err != nil {
		return PeerID{}, fmt.Errorf("peer ID %q: %w", s, ErrPeerID)
	}
	id, ok := peerIDOf(c)
	if !ok {
		return PeerID{}, fmt.Errorf("peer ID %q: %w", s, ErrPeerID)
	}
	return id, nil
}

// peerIDOf takes the key out of a /p2p component; go-multiaddr lets pass
// identity digests of any length, and hashes of other keys.
func peerIDOf(c *ma.Component) (id PeerID, ok bool) {
	b := c.RawValue()
	if c.Code() != ma.P_P2P || len(b) != len(peerIDPrefix)+len(id) || string(b[:len(peerIDPrefix)]) != peerIDPrefix {
		return PeerID{}, false
	}
	copy(id[:], b[len(peerIDPrefix):])
	return id, id.IsValid()
}

// component returns the /p2p component of id.
func (id PeerID) component() ma.Component {
	b := append(ma.CodeToVarint(ma.P_P2P), byte(len(peerIDPrefix)+len(id)))
	b = append(append(b, peerIDPrefix...), id[:]...)
	var c ma.Component
	if err := c.UnmarshalBinary(b); err != nil {
		panic("wire: peer ID does not make a multiaddr: " + err.Error()) // fixed form: cannot happen
	}
	return c
}

// Key returns the peer's place in the key space: SHA3-256 of the public key.
func (id PeerID) Key() routing.Key { return routing.KeyOf(id[:]) }

// IsZero reports whether id is the zero value, which means no peer.
func (id PeerID) IsZero() bool { return id == PeerID{} }

// IsValid reports whether id can be a peer: it is canonically encoded and not of
// small order. A key of small order has no secret, so any peer could sign in its
// name. Messages, addresses and texts with another ID are refused when they are
// parsed; the zero PeerID is not valid. It does not say whether there is such a
// peer.
func (id PeerID) IsValid() bool { return peerkey.Valid(id) }

// String returns the libp2p form, 12D3KooW…, or "" for the zero PeerID.
func (id PeerID) String() string {
	if id.IsZero() {
		return ""
	}
	c := id.component()
	return c.Value()
}

// MarshalText is String as bytes.
func (id PeerID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText is ParsePeerID; empty text is the zero PeerID.
func (id *PeerID) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*id = PeerID{}
		return nil
	}
	p, err := ParsePeerID(string(text))
	if err == nil {
		*id = p
	}
	return err
}
