package wire

import "google.golang.org/protobuf/encoding/protowire"

// A cursor walks the fields of an encoded message:
//
//	c := scan(b)
//	for c.next() {
//		switch {
//		case c.is(1, bytesType): use c.data
//		}
//	}
//	if c.bad { … }
//
// A known field of the wrong wire type is passed over like an unknown one, as
// protobuf has it. Groups, which this schema never had, are malformed.
type cursor struct {
	rest []byte
	data []byte // the value of a length-delimited field, within the input
	bits uint64 // the value of a varint field
	num  protowire.Number
	typ  protowire.Type
	bad  bool // the input ended, or broke a rule, inside a field
}

const (
	varintType = protowire.VarintType
	bytesType  = protowire.BytesType
)

func scan(b []byte) cursor { return cursor{rest: b} }

// is reports whether the field at hand has this number and type.
func (c *cursor) is(num protowire.Number, typ protowire.Type) bool {
	return c.num == num && c.typ == typ
}

// next goes on to the next field. It is false at the end and when c.bad.
func (c *cursor) next() bool {
	if len(c.rest) == 0 {
		return false
	}
	tag, ok := c.varint()
	c.num, c.typ = protowire.DecodeTag(tag)
	if !ok || !c.num.IsValid() {
		return c.fail()
	}
	switch c.typ {
	case varintType:
		if c.bits, ok = c.varint(); !ok {
			return c.fail()
		}
	case bytesType:
		n, ok := c.varint()
		if !ok || n > uint64(len(c.rest)) {
			return c.fail()
		}
		c.data, c.rest = c.rest[:n:n], c.rest[n:]
	case protowire.Fixed32Type:
		return c.skip(4)
	case protowire.Fixed64Type:
		return c.skip(8)
	default:
		return c.fail()
	}
	return true
}

// varint takes a varint off rest.
func (c *cursor) varint() (uint64, bool) {
	if len(c.rest) > 0 && c.rest[0] < 0x80 {
		v := c.rest[0]
		c.rest = c.rest[1:]
		return uint64(v), true
	}
	v, n := protowire.ConsumeVarint(c.rest)
	if n < 0 {
		return 0, false
	}
	c.rest = c.rest[n:]
	return v, true
}

func (c *cursor) skip(n int) bool {
	if n > len(c.rest) {
		return c.fail()
	}
	c.rest = c.rest[n:]
	return true
}

func (c *cursor) fail() bool {
	c.bad = true
	return false
}

// The rest writes fields as the generated code does: in order of number, the
// zero value of a single field left out. Sizes and writing go in pairs.

func sizeVarint(v uint64) int { return protowire.SizeVarint(v) }

// sizeUint is the size of a varint field whose number is at most 15.
func sizeUint(v uint64) int {
	if v == 0 {
		return 0
	}
	return 1 + sizeVarint(v)
}

func appendUint(b []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	b = append(b, byte(num)<<3|byte(varintType))
	return protowire.AppendVarint(b, v)
}

// sizeField is the size of a length-delimited field of n bytes whose number is
// at most 15.
func sizeField(n int) int { return 1 + sizeVarint(uint64(n)) + n }

// appendHead appends what stands before the n bytes of a length-delimited field.
func appendHead(b []byte, num protowire.Number, n int) []byte {
	if n < 0x80 {
		return append(b, byte(num)<<3|byte(bytesType), byte(n))
	}
	b = append(b, byte(num)<<3|byte(bytesType))
	return protowire.AppendVarint(b, uint64(n))
}

func sizeBytes(n int) int {
	if n == 0 {
		return 0
	}
	return sizeField(n)
}

func appendBytes[B ~string | ~[]byte](b []byte, num protowire.Number, v B) []byte {
	if len(v) == 0 {
		return b
	}
	return append(appendHead(b, num, len(v)), v...)
}
