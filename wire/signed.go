package wire

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/kadquic/kadquic/routing"
)

// Signed is a record as it is sent and stored: the signed bytes, kept verbatim,
// and the decoded record. It is immutable, so goroutines may share it.
//
// One that came from a peer has a form that can be parsed and nothing more;
// Verify decides. If even its payload could not be read, Record is zero, and
// Verify says ErrRecord: one bad record of a STORE does not spoil the others.
type Signed struct {
	Record    Record // Name and Value lie within Payload
	Payload   []byte // the encoded Record, at most MaxPayload bytes
	Signature [64]byte
}

// Verify reports whether the record may be kept and believed at that time: its
// form, the key that its kind demands, the expiry (after now, by at most
// MaxTTL + MaxSkew), the signature. The error wraps ErrRecord, ErrBadKind,
// ErrBadKey, ErrExpired, ErrTooFarAhead or ErrBadSignature. It costs about as
// much as one Ed25519 verification, 50 µs.
func (s *Signed) Verify(now time.Time) error {
	r := &s.Record
	if err := r.check(); err != nil {
		return err
	}
	if !now.Before(r.Expiry) {
		return fmt.Errorf("%w at %s", ErrExpired, r.Expiry.Format(time.RFC3339))
	}
	if ahead := r.Expiry.Sub(now); ahead > MaxTTL+MaxSkew {
		return fmt.Errorf("%w: by %s, more than %s", ErrTooFarAhead, ahead, MaxTTL+MaxSkew)
	}
	buf := make([]byte, 0, len(recordDomain)+len(s.Payload))
	buf = append(append(buf, recordDomain...), s.Payload...)
	if !ed25519.Verify(r.Publisher[:], buf, s.Signature[:]) {
		return ErrBadSignature
	}
	return nil
}

// Hash names the record: SHA3-256 of "kadquic record hash v1\0" and the
// payload. The signature is left out: a publisher could make many of them.
func (s *Signed) Hash() [32]byte {
	buf := make([]byte, 0, len(hashDomain)+len(s.Payload))
	return routing.KeyOf(append(append(buf, hashDomain...), s.Payload...))
}

// Newer reports whether a replaces b, both of one publisher, kind and key: the
// higher sequence, then the later expiry, then the smaller hash. It is false
// for equal records.
func Newer(a, b *Signed) bool {
	switch {
	case a.Record.Seq != b.Record.Seq:
		return a.Record.Seq > b.Record.Seq
	case !a.Record.Expiry.Equal(b.Record.Expiry):
		return a.Record.Expiry.After(b.Record.Expiry)
	}
	return smallerHash(a, b)
}

// Better reports whether a stands before b, of different publishers, under one
// key: the later expiry, then the higher sequence, then the smaller hash. It is
// a total order. Records of one publisher are reduced to one by Newer first: a
// publisher's older value may expire later than its newer one.
func Better(a, b *Signed) bool {
	switch {
	case !a.Record.Expiry.Equal(b.Record.Expiry):
		return a.Record.Expiry.After(b.Record.Expiry)
	case a.Record.Seq != b.Record.Seq:
		return a.Record.Seq > b.Record.Seq
	}
	return smallerHash(a, b)
}

func smallerHash(a, b *Signed) bool {
	if bytes.Equal(a.Payload, b.Payload) {
		return false
	}
	ha, hb := a.Hash(), b.Hash()
	return bytes.Compare(ha[:], hb[:]) < 0
}

// Size is the length of the form that AppendSigned writes.
func (s *Signed) Size() int { return sizeBytes(len(s.Payload)) + sizeField(len(s.Signature)) }

// AppendSigned appends the stored form of s, the encoded message Signed of
// kad.proto.
func AppendSigned(dst []byte, s *Signed) []byte {
	dst = appendBytes(dst, 1, s.Payload)
	return append(appendHead(dst, 2, len(s.Signature)), s.Signature[:]...)
}

// ParseSigned reads what AppendSigned wrote; b is not kept. The error wraps
// ErrRecord. It does not verify.
func ParseSigned(b []byte) (*Signed, error) {
	s, why := parseSigned(b)
	if why != "" {
		return nil, fmt.Errorf("%w: %s", ErrRecord, why)
	}
	if s.Record.Kind == 0 {
		return nil, fmt.Errorf("%w: unreadable payload", ErrRecord)
	}
	return s, nil
}

func sizeSigneds(ss []*Signed) (n int) {
	for _, s := range ss {
		n += sizeField(s.Size())
	}
	return n
}

func appendSigneds(b []byte, num protowire.Number, ss []*Signed) []byte {
	for _, s := range ss {
		b = AppendSigned(appendHead(b, num, s.Size()), s)
	}
	return b
}

func parseSigned(b []byte) (*Signed, reason) {
	var payload, signature []byte
	c := scan(b)
	for c.next() {
		switch {
		case c.is(1, bytesType):
			payload = c.data()
		case c.is(2, bytesType):
			signature = c.data()
		}
	}
	switch {
	case c.bad:
		return nil, notProtobuf
	case len(payload) == 0 || len(payload) > MaxPayload:
		return nil, badPayload
	case len(signature) != ed25519.SignatureSize:
		return nil, badSignature
	}
	s := &Signed{Payload: slices.Clone(payload), Signature: [64]byte(signature)}
	s.Record, _ = parseRecord(s.Payload)
	return s, ""
}

func sizeRecord(r *Record) int {
	return sizeUint(uint64(r.Kind)) + sizeField(len(r.Key)) + sizeField(len(r.Publisher)) +
		sizeBytes(len(r.Name)) + sizeUint(r.Seq) + sizeUint(millis(r.Expiry)) + sizeBytes(len(r.Value))
}

func appendRecord(b []byte, r *Record) []byte {
	b = appendUint(b, 1, uint64(r.Kind))
	b = appendBytes(b, 2, r.Key[:])
	b = appendBytes(b, 3, r.Publisher[:])
	b = appendBytes(b, 4, r.Name)
	b = appendUint(b, 5, r.Seq)
	b = appendUint(b, 6, millis(r.Expiry))
	return appendBytes(b, 7, r.Value)
}

// parseRecord reads a payload, of which the result keeps slices. Signed bytes
// have one form only: known fields, in order of number, each at most once. As
// a varint longer than need be, or a zero that was written, could only make the
// payload longer than its encoding, equal size is equal bytes.
func parseRecord(payload []byte) (r Record, ok bool) {
	ok = true
	last := protowire.Number(0)
	c := scan(payload)
	for ok && c.next() {
		if ok = c.num > last; !ok {
			break
		}
		last = c.num
		switch {
		case c.is(1, varintType):
			r.Kind, ok = Kind(c.bits), c.bits <= 0xff
		case c.is(2, bytesType):
			if ok = len(c.data()) == len(r.Key); ok {
				r.Key = routing.Key(c.data())
			}
		case c.is(3, bytesType):
			if ok = len(c.data()) == len(r.Publisher); ok {
				r.Publisher = PeerID(c.data())
			}
		case c.is(4, bytesType):
			r.Name, ok = c.data(), len(c.data()) <= MaxName
		case c.is(5, varintType):
			r.Seq = c.bits
		case c.is(6, varintType):
			r.Expiry, ok = fromMillis(c.bits)
		case c.is(7, bytesType):
			r.Value, ok = c.data(), len(c.data()) <= MaxValue
		default:
			ok = false
		}
	}
	if !ok || c.bad || r.Kind == 0 || r.Expiry.IsZero() || sizeRecord(&r) != len(payload) {
		return Record{}, false
	}
	return r, true
}

// parseOptional reads a record of which there may be one; had is the one read
// before.
func parseOptional(had *Signed, b []byte) (*Signed, reason) {
	if had != nil {
		return nil, twice
	}
	return parseSigned(b)
}

func parseAnother(list []*Signed, b []byte, max int) ([]*Signed, reason) {
	if len(list) == max {
		return list, tooManyRecords
	}
	s, why := parseSigned(b)
	return append(list, s), why
}
