package wire

import "google.golang.org/protobuf/encoding/protowire"

// A cursor walks the fields of an encoded message:
//
//	c := scan(b)
//	for c.next() {
//		switch {
//		case c.is(1, bytesType): use c.data()
//		}
//	}
//	if c.bad { … }
//
// A known field of the wrong wire type is skipped like an unknown one, as in
// protobuf. Groups, which this schema never had, are malformed.
//
// Its position is integers alone: with slices for the parts read and unread,
// write barriers took a quarter of the time of a reply.
type cursor struct {
	in   []byte
	at   int    // where the next field begins
	from int    // where the value of a length-delimited field begins; it ends at at
	bits uint64 // the value of a varint field
	num  protowire.Number
	typ  protowire.Type
	bad  bool // the input ended, or broke a rule, inside a field
}

const (
	varintType = protowire.VarintType
	bytesType  = protowire.BytesType
)

func scan(b []byte) cursor { return cursor{in: b} }

// is reports whether the current field has this number and type.
func (c *cursor) is(num protowire.Number, typ protowire.Type) bool {
	return c.num == num && c.typ == typ
}

// data returns the value of the current length-delimited field, a slice of the input.
func (c *cursor) data() []byte { return c.in[c.from:c.at:c.at] }

// next goes on to the next field. It is false at the end and when c.bad.
func (c *cursor) next() bool {
	b := c.in[c.at:]
	if len(b) == 0 {
		return false
	}
	if len(b) >= 2 && b[0]&0x87 == byte(bytesType) && b[0] > 7 && b[1] < 0x80 && int(b[1]) <= len(b)-2 {
		// Short and length-delimited, as most are: number below 16, length below 128.
		c.num, c.typ = protowire.Number(b[0]>>3), bytesType
		c.from = c.at + 2
		c.at = c.from + int(b[1])
		return true
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
		return true
	case bytesType:
		n, ok := c.varint()
		if !ok {
			return c.fail()
		}
		c.from = c.at
		return c.skip(n)
	case protowire.Fixed32Type:
		return c.skip(4)
	case protowire.Fixed64Type:
		return c.skip(8)
	}
	return c.fail()
}

// varint reads a varint.
func (c *cursor) varint() (uint64, bool) {
	v, n := protowire.ConsumeVarint(c.in[c.at:])
	c.at += max(n, 0)
	return v, n > 0
}

func (c *cursor) skip(n uint64) bool {
	if n > uint64(len(c.in)-c.at) {
		return c.fail()
	}
	c.at += int(n)
	return true
}

func (c *cursor) fail() bool {
	c.bad = true
	return false
}

// or returns why, or the fault of the input as a whole if it is malformed.
func (c *cursor) or(why reason) reason {
	if c.bad {
		return notProtobuf
	}
	return why
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

// appendHead appends the tag and length of a length-delimited field of n bytes.
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

// appendPadding appends a field of n bytes of no meaning.
func appendPadding(b []byte, num protowire.Number, n int) []byte {
	if n <= 0 {
		return b
	}
	return append(appendHead(b, num, n), make([]byte, n)...)
}
