package routing

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"

	"golang.org/x/crypto/sha3"
)

// KeyBits is the length of a key in bits (Kademlia §2 has 160; ours are 256).
const KeyBits = 256

// Key is a place in the key space, of a node or of a value. It is comparable,
// so it may be a map key; the zero Key is a key like any other.
type Key [32]byte

// KeyOf returns the SHA3-256 of data: the usual way from a name, or from a
// public key, to its place in the key space.
func KeyOf[B ~string | ~[]byte](data B) Key {
	return sha3.Sum256([]byte(data))
}

// ParseKey reads a key written as 64 hexadecimal digits of either case.
func ParseKey(s string) (Key, error) {
	var k Key
	if len(s) != 2*len(k) {
		return Key{}, fmt.Errorf("routing: malformed key %.80q: %d characters, want %d hexadecimal digits", s, len(s), 2*len(k))
	}
	if _, err := hex.Decode(k[:], []byte(s)); err != nil {
		return Key{}, fmt.Errorf("routing: malformed key %q: %v", s, err)
	}
	return k, nil
}

// String returns the key as 64 lower-case hexadecimal digits, which ParseKey reads.
func (k Key) String() string { return hex.EncodeToString(k[:]) }

// AppendText appends the key's text to b. It never fails.
func (k Key) AppendText(b []byte) ([]byte, error) { return hex.AppendEncode(b, k[:]), nil }

// MarshalText returns what String does. It never fails.
func (k Key) MarshalText() ([]byte, error) { return k.AppendText(nil) }

// UnmarshalText is ParseKey; on an error k is left as it was.
func (k *Key) UnmarshalText(text []byte) error {
	parsed, err := ParseKey(string(text))
	if err == nil {
		*k = parsed
	}
	return err
}

// Distance returns how far o is from k: their exclusive or, read as a number
// (Kademlia §2.1).
func (k Key) Distance(o Key) Distance {
	return Distance{k.word(0) ^ o.word(0), k.word(1) ^ o.word(1), k.word(2) ^ o.word(2), k.word(3) ^ o.word(3)}
}

// CommonPrefixLen returns how many leading bits k and o share, 0 to 256.
func (k Key) CommonPrefixLen(o Key) int {
	for i := range 4 {
		if d := k.word(i) ^ o.word(i); d != 0 {
			return 64*i + bits.LeadingZeros64(d)
		}
	}
	return KeyBits
}

// CompareDistance returns -1 if a is nearer to k than b is, 1 if it is
// farther, and 0 if a and b are the same key: no two keys are equally far.
func (k Key) CompareDistance(a, b Key) int {
	for i := range 4 {
		w := k.word(i)
		if x, y := w^a.word(i), w^b.word(i); x < y {
			return -1
		} else if x > y {
			return 1
		}
	}
	return 0
}

// RandomKey returns a key that shares its first n bits with prefix and takes
// the other bits from src. n is 0 to 256.
func RandomKey(prefix Key, n int, src rand.Source) Key {
	var k Key
	for i := range 4 {
		w, keep := src.Uint64(), min(max(n-64*i, 0), 64)
		mask := ^uint64(0) >> keep // a shift by 64 leaves 0
		binary.BigEndian.PutUint64(k[8*i:], prefix.word(i)&^mask|w&mask)
	}
	return k
}

// word returns the i-th of the key's four words, the most significant first.
func (k *Key) word(i int) uint64 { return binary.BigEndian.Uint64(k[8*i:]) }

// flip returns the key with bit i (0 is the most significant) inverted.
func (k Key) flip(i int) Key {
	k[i>>3] ^= 0x80 >> (i & 7)
	return k
}

// Distance is a distance between two keys: a 256-bit number in four words,
// the most significant first. It is comparable; the zero Distance is the
// distance of a key to itself.
type Distance [4]uint64

// Compare returns -1, 0 or 1 as d is less than, equal to or greater than o.
func (d Distance) Compare(o Distance) int {
	for i := range d {
		switch {
		case d[i] < o[i]:
			return -1
		case d[i] > o[i]:
			return 1
		}
	}
	return 0
}

// Fraction returns the distance as a fraction of the key space, 0 to 1.
func (d Distance) Fraction() (f float64) {
	for i, w := range d {
		f += math.Ldexp(float64(w), -64*(i+1))
	}
	return f
}

// bit returns bit i of the distance, 0 being the most significant.
func (d *Distance) bit(i int) uint64 { return d[i>>6] >> (63 - i&63) & 1 }
