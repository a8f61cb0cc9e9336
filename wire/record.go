package wire

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"github.com/kadquic/kadquic/routing"
)

// Kind is the rule that a record obeys. Kinds never compete: one key may hold
// records of each.
type Kind uint8

const (
	KindContent  Kind = 1 // the key is the hash of the value, so any peer may publish it
	KindOwned    Kind = 2 // the key is OwnedKey(publisher, name), so only its owner can write it
	KindOpen     Kind = 3 // any publisher; the key is the hash of the name, without a name any; a holder keeps one record of each publisher
	KindPeer     Kind = 4 // the key is the publisher's own as a peer; the value is a PeerInfo
	KindProvider Kind = 5 // any key: the publisher provides what it stands for; the value is a PeerInfo, perhaps empty
)

var kindNames = [...]string{"", "content", "owned", "open", "peer", "provider"}

// Known reports whether k is one of the kinds above.
func (k Kind) Known() bool { return k >= KindContent && k <= KindProvider }

// String returns the name of the kind, such as "open".
func (k Kind) String() string {
	if k.Known() {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Why a record is refused. Sign and Verify wrap them with particulars.
var (
	ErrRecord       = errors.New("wire: malformed record")
	ErrBadKind      = errors.New("wire: record of unknown kind")
	ErrBadKey       = errors.New("wire: key is not that of the record's content or owner")
	ErrBadSignature = errors.New("wire: wrong signature")
	ErrExpired      = errors.New("wire: record has expired")
	ErrTooFarAhead  = errors.New("wire: record expires too far ahead")
)

// CodeOf returns the code that tells a peer of an error of Verify: CodeOK for
// nil, CodeInvalid for an error not known here.
func CodeOf(err error) Code {
	switch {
	case err == nil:
		return CodeOK
	case errors.Is(err, ErrExpired):
		return CodeExpired
	case errors.Is(err, ErrTooFarAhead):
		return CodeAhead
	case errors.Is(err, ErrBadKind):
		return CodeUnimplemented
	}
	return CodeInvalid
}

// A Record is the statement that a publisher signs.
type Record struct {
	Kind      Kind
	Key       routing.Key
	Publisher PeerID
	Name      []byte    // of owned and open records only; at most MaxName bytes, may be empty
	Seq       uint64    // at most MaxSeq; within one publisher and key a higher one replaces a lower; Unix milliseconds by default
	Expiry    time.Time // in whole milliseconds, UTC
	Value     []byte    // at most MaxValue bytes, MaxPeerRecord in peer and provider records; may be empty
}

// ContentKey returns the key of the content record of value: its SHA3-256.
func ContentKey(value []byte) routing.Key { return routing.KeyOf(value) }

// Every hashed or signed input begins with a domain string, so that a hash or
// signature made for one use is not valid for another.
const (
	ownedDomain  = "kadquic owned v1\x00"
	recordDomain = "kadquic record v1\x00"
	hashDomain   = "kadquic record hash v1\x00"
)

// OwnedKey returns the key under which only publisher may keep an owned record of
// that name: SHA3-256 of "kadquic owned v1\0", the public key
// and the name.
func OwnedKey(publisher PeerID, name []byte) routing.Key {
	b := make([]byte, 0, len(ownedDomain)+len(publisher)+MaxName)
	b = append(b, ownedDomain...)
	b = append(b, publisher[:]...)
	return routing.KeyOf(append(b, name...))
}

// ownKey returns the key that the kind demands, false where any will do.
func (r *Record) ownKey() (routing.Key, bool) {
	switch r.Kind {
	case KindContent:
		return ContentKey(r.Value), true
	case KindOwned:
		return OwnedKey(r.Publisher, r.Name), true
	case KindOpen:
		if len(r.Name) > 0 {
			return routing.KeyOf(r.Name), true
		}
	case KindPeer:
		return r.Publisher.Key(), true
	}
	return routing.Key{}, false
}

// check applies the rules that depend on the record only.
func (r *Record) check() error {
	switch {
	case r.Kind == 0:
		return ErrRecord // of a Signed whose payload could not be read
	case !r.Kind.Known():
		return fmt.Errorf("%w %d", ErrBadKind, r.Kind)
	case !r.Publisher.IsValid():
		return fmt.Errorf("%w: publisher %x is no peer ID", ErrRecord, r.Publisher[:])
	case len(r.Name) > MaxName:
		return fmt.Errorf("%w: name of %d bytes, over %d", ErrRecord, len(r.Name), MaxName)
	case len(r.Name) > 0 && r.Kind != KindOwned && r.Kind != KindOpen:
		return fmt.Errorf("%w: a name in a record of kind %v", ErrRecord, r.Kind)
	case r.Seq > MaxSeq:
		return fmt.Errorf("%w: sequence number %d, over %d", ErrRecord, r.Seq, uint64(MaxSeq))
	case len(r.Value) > MaxValue:
		return fmt.Errorf("%w: value of %d bytes, over %d", ErrRecord, len(r.Value), MaxValue)
	}
	if ms := r.Expiry.UnixMilli(); ms <= 0 || ms > maxMillis {
		return fmt.Errorf("%w: expiry out of range", ErrRecord)
	}
	if r.Kind == KindPeer || r.Kind == KindProvider && len(r.Value) > 0 {
		if _, err := r.PeerInfo(); err != nil {
			return err
		}
	}
	if key, ok := r.ownKey(); ok && key != r.Key {
		return fmt.Errorf("%w (kind %v)", ErrBadKey, r.Kind)
	}
	return nil
}

// MaxSeq is the highest sequence number of a record, 2^63 - 1.
const MaxSeq = 1<<63 - 1

// maxMillis is the last millisecond of the year 9999, beyond which times have
// no usual text.
const maxMillis = 253402300799999

// millis is the wire's form of a time; 0 for the zero time.
func millis(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(max(t.UnixMilli(), 0))
}

// fromMillis is the inverse of millis; false if out of range.
func fromMillis(ms uint64) (time.Time, bool) {
	if ms == 0 || ms > maxMillis {
		return time.Time{}, ms == 0
	}
	return time.UnixMilli(int64(ms)).UTC(), true
}

// Sign makes a signed record of r, with the key's public half as Publisher.
// The zero Key is replaced by the one that kind and name demand, if they do;
// Expiry is cut to milliseconds. r's slices are copied. The error wraps
// ErrRecord, ErrBadKind or ErrBadKey; whether the expiry is too far ahead is
// for Verify to say.
func Sign(r Record, key ed25519.PrivateKey) (*Signed, error) {
	if len(key) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("private key of %d bytes, want %d", len(key), ed25519.PrivateKeySize)
	}
	r.Publisher = PeerID(key[ed25519.PrivateKeySize-ed25519.PublicKeySize:])
	if r.Key == (routing.Key{}) {
		if own, ok := r.ownKey(); ok {
			r.Key = own
		}
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	buf := make([]byte, 0, len(recordDomain)+sizeRecord(&r))
	buf = appendRecord(append(buf, recordDomain...), &r)
	s := &Signed{Payload: buf[len(recordDomain):]}
	copy(s.Signature[:], ed25519.Sign(key, buf))
	var ok bool
	if s.Record, ok = parseRecord(s.Payload); !ok {
		return nil, ErrRecord
	}
	return s, nil
}
