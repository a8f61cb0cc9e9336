package wire

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/kadquic/kadquic/routing"
)

// AppendFrame appends the protobuf form of f, without length prefix. Messages
// are to be within their limits, which the receiver checks; only the texts of
// Hello and Error, often not of our making, are cut to size and mended to UTF-8.
func AppendFrame(dst []byte, f Frame) []byte {
	body := f.Body.size()
	dst = slices.Grow(dst, sizeFrame(f, body))
	return appendFrame(dst, f, body)
}

// AppendPrefixed appends f behind its length, as it travels. Many may be
// appended to one buffer and written at once.
func AppendPrefixed(dst []byte, f Frame) []byte {
	body := f.Body.size()
	n := sizeFrame(f, body)
	dst = slices.Grow(dst, sizeVarint(uint64(n))+n)
	dst = protowire.AppendVarint(dst, uint64(n))
	return appendFrame(dst, f, body)
}

func sizeFrame(f Frame, body int) int {
	return sizeUint(f.ID) + protowire.SizeTag(protowire.Number(f.Body.body())) + protowire.SizeBytes(body)
}

func appendFrame(b []byte, f Frame, body int) []byte {
	b = appendUint(b, 1, f.ID)
	b = protowire.AppendTag(b, protowire.Number(f.Body.body()), protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(body))
	return f.Body.encode(b)
}

func (m Hello) size() int {
	return sizeUint(uint64(m.Mode)) + sizeBytes(len(text(m.Agent, MaxAgent))) + sizeUint(millis(m.Clock)) +
		sizeBytes(len(m.Observed)) + sizeOptional(m.Record) + sizeUint(bit(m.DialBack))
}

func (m Hello) encode(b []byte) []byte {
	b = appendUint(b, 1, uint64(m.Mode))
	b = appendBytes(b, 2, text(m.Agent, MaxAgent))
	b = appendUint(b, 3, millis(m.Clock))
	b = appendBytes(b, 4, m.Observed)
	b = appendOptional(b, 5, m.Record)
	return appendUint(b, 6, bit(m.DialBack))
}

func (m Error) size() int {
	return sizeUint(uint64(m.Code)) + sizeBytes(len(text(m.Message, MaxErrorText)))
}

func (m Error) encode(b []byte) []byte {
	b = appendUint(b, 1, uint64(m.Code))
	return appendBytes(b, 2, text(m.Message, MaxErrorText))
}

func (Ping) size() int              { return 0 }
func (Ping) encode(b []byte) []byte { return b }
func (Pong) size() int              { return 0 }
func (Pong) encode(b []byte) []byte { return b }

func (m FindNode) size() int { return sizeField(len(m.Key)) + sizeUint(count(m.Count)) }

func (m FindNode) encode(b []byte) []byte {
	b = appendBytes(b, 1, m.Key[:])
	return appendUint(b, 2, count(m.Count))
}

func (m Nodes) size() int { return sizeContacts(m.Contacts) + sizeOptional(m.Record) }

func (m Nodes) encode(b []byte) []byte {
	b = appendContacts(b, 1, m.Contacts)
	return appendOptional(b, 2, m.Record)
}

func (m FindValue) size() int {
	n := sizeField(len(m.Key)) + sizeUint(uint64(m.Kind)) + sizeUint(count(m.Count)) + sizeUint(bit(m.All))
	if !m.After.IsZero() {
		n += sizeField(len(m.After))
	}
	return n
}

func (m FindValue) encode(b []byte) []byte {
	b = appendBytes(b, 1, m.Key[:])
	b = appendUint(b, 2, uint64(m.Kind))
	b = appendUint(b, 3, count(m.Count))
	b = appendUint(b, 4, bit(m.All))
	if !m.After.IsZero() {
		b = appendBytes(b, 5, m.After[:])
	}
	return b
}

func (m Value) size() int {
	return sizeSigneds(m.Records) + sizeContacts(m.Contacts) + sizeUint(bit(m.More))
}

func (m Value) encode(b []byte) []byte {
	b = appendSigneds(b, 1, m.Records)
	b = appendContacts(b, 2, m.Contacts)
	return appendUint(b, 3, bit(m.More))
}

func (m Store) size() int {
	n := sizeSigneds(m.Records) + sizeUint(count(m.Count))
	if m.Bound != (routing.Key{}) {
		n += sizeField(len(m.Bound))
	}
	if m.IfSeq != nil {
		n += 1 + sizeVarint(*m.IfSeq)
	}
	return n
}

func (m Store) encode(b []byte) []byte {
	b = appendSigneds(b, 1, m.Records)
	b = appendUint(b, 2, count(m.Count))
	if m.Bound != (routing.Key{}) {
		b = appendBytes(b, 3, m.Bound[:])
	}
	if m.IfSeq != nil { // 0 is said, too
		b = protowire.AppendTag(b, 4, varintType)
		b = protowire.AppendVarint(b, *m.IfSeq)
	}
	return b
}

func (m Stored) size() int { return sizeBytes(sizeCodes(m.Results)) + sizeContacts(m.Contacts) }

func (m Stored) encode(b []byte) []byte {
	if len(m.Results) > 0 {
		b = appendHead(b, 1, sizeCodes(m.Results))
		for _, c := range m.Results {
			b = protowire.AppendVarint(b, uint64(c))
		}
	}
	return appendContacts(b, 2, m.Contacts)
}

func (m Observed) size() int              { return sizeBytes(len(m.Addr)) }
func (m Observed) encode(b []byte) []byte { return appendBytes(b, 1, m.Addr) }

func (m GetProviders) size() int {
	n := sizeField(len(m.Key)) + sizeUint(count(m.Count))
	if !m.After.IsZero() {
		n += sizeField(len(m.After))
	}
	return n
}

func (m GetProviders) encode(b []byte) []byte {
	b = appendBytes(b, 1, m.Key[:])
	b = appendUint(b, 2, count(m.Count))
	if !m.After.IsZero() {
		b = appendBytes(b, 3, m.After[:])
	}
	return b
}

func (m Providers) size() int {
	return sizeSigneds(m.Records) + sizeUint(bit(m.More)) + sizeContacts(m.Contacts)
}

func (m Providers) encode(b []byte) []byte {
	b = appendSigneds(b, 1, m.Records)
	b = appendUint(b, 2, bit(m.More))
	return appendContacts(b, 3, m.Contacts)
}

func (Unknown) size() int              { return 0 }
func (Unknown) encode(b []byte) []byte { return b }

func sizeCodes(codes []Code) (n int) {
	for _, c := range codes {
		n += sizeVarint(uint64(c))
	}
	return n
}

func sizeOptional(s *Signed) int {
	if s == nil {
		return 0
	}
	return sizeField(s.Size())
}

func appendOptional(b []byte, num protowire.Number, s *Signed) []byte {
	if s == nil {
		return b
	}
	return AppendSigned(appendHead(b, num, s.Size()), s)
}

// bit is the wire's form of a bool.
func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// count is the wire's form of a count.
func count(n int) uint64 { return uint64(min(max(n, 0), MaxContacts)) }

// text returns s as valid UTF-8 of at most max bytes.
func text(s string, max int) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) > max {
		s = strings.ToValidUTF8(s[:max], "") // drops the rune cut in two
	}
	return s
}
