package peerkey

import (
	"crypto/ed25519"
	"encoding/binary"
	"math/big"
	"slices"
	"testing"
)

// The curve of RFC 8032 §5.1, by the book: -x² + y² = 1 + d·x²·y² over the field
// of 2^255 - 19 elements.
var (
	prime = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	one   = big.NewInt(1)
	curve = mul(mod(big.NewInt(-121665)), inverse(big.NewInt(121666))) // d
)

func mod(a *big.Int) *big.Int     { return a.Mod(a, prime) }
func mul(a, b *big.Int) *big.Int  { return mod(new(big.Int).Mul(a, b)) }
func add(a, b *big.Int) *big.Int  { return mod(new(big.Int).Add(a, b)) }
func sub(a, b *big.Int) *big.Int  { return mod(new(big.Int).Sub(a, b)) }
func inverse(a *big.Int) *big.Int { return new(big.Int).ModInverse(a, prime) }

type point struct{ x, y *big.Int }

func (a point) add(b point) point {
	xx, yy := mul(a.x, b.x), mul(a.y, b.y)
	t := mul(curve, mul(xx, yy))
	return point{
		mul(add(mul(a.x, b.y), mul(a.y, b.x)), inverse(add(one, t))),
		mul(add(yy, xx), inverse(sub(one, t))),
	}
}

func (a point) neutral() bool { return a.x.Sign() == 0 && a.y.Cmp(one) == 0 }

// decode reads an encoding leniently, as RFC 8032 §5.1.3 does without its checks
// that y is below the field's order and that -0 is not written. ok is false for
// bytes of which no point has that y.
func decode(b [32]byte) (a point, ok bool) {
	slices.Reverse(b[:])
	sign := b[0] >> 7
	b[0] &= 0x7f
	y := mod(new(big.Int).SetBytes(b[:]))
	yy := mul(y, y)
	x := new(big.Int).ModSqrt(mul(sub(yy, one), inverse(add(mul(curve, yy), one))), prime)
	if x == nil {
		return point{}, false
	}
	if byte(x.Bit(0)) != sign {
		x = mod(x.Neg(x))
	}
	return point{x, y}, true
}

func encode(y *big.Int, sign byte) (b [32]byte) {
	y.FillBytes(b[:])
	slices.Reverse(b[:])
	b[31] |= sign << 7
	return b
}

// generate finds a point of order 8: eight times the prime order of the group
// times any point leaves the small part.
func generate(t *testing.T) point {
	order, _ := new(big.Int).SetString("27742317777372353535851937790883648493", 10)
	order.Add(order, new(big.Int).Lsh(one, 252))
	for i := int64(2); ; i++ {
		a, ok := decode(encode(big.NewInt(i), 0))
		if !ok {
			continue
		}
		small := point{new(big.Int), one}
		for bit := order.BitLen() - 1; bit >= 0; bit-- {
			if small = small.add(small); order.Bit(bit) == 1 {
				small = small.add(a)
			}
		}
		if four := small.add(small).add(small.add(small)); !four.neutral() {
			if !four.add(four).neutral() {
				t.Fatal("eight times a point of small order is not the neutral element")
			}
			return small
		}
	}
}

func TestSmallOrderAndNonCanonicalKeysAreRefused(t *testing.T) {
	refused := map[[32]byte]bool{}
	a := generate(t)
	for range 8 { // every point of small order is a multiple of one of order 8
		a = a.add(generate(t))
		for sign := range byte(2) { // where x = 0 the sign has no meaning, but a bit
			refused[encode(a.y, sign)] = true
		}
	}
	for y := new(big.Int).Set(prime); y.BitLen() <= 255; y = new(big.Int).Add(y, one) {
		for sign := range byte(2) {
			refused[encode(y, sign)] = true
		}
	}
	if len(refused) != 2*5+2*19 {
		t.Fatalf("%d encodings, want 5 y of small order and 19 beyond the field, with either sign", len(refused))
	}
	for key := range refused {
		if Valid(key) {
			t.Errorf("%x is valid", key)
		}
	}
}

// Why they are refused: each verifies signatures that were made without a secret.
func TestAKeyOfSmallOrderNeedsNoSecret(t *testing.T) {
	for _, y := range smallOrder {
		forged := false
		for i := range byte(8) {
			for _, r := range smallOrder {
				for sign := range byte(2) {
					signature := make([]byte, ed25519.SignatureSize) // R is of small order, S is 0
					copy(signature, r[:])
					signature[31] |= sign << 7
					forged = forged || ed25519.Verify(y[:], []byte{i}, signature)
				}
			}
		}
		if !forged {
			t.Errorf("nothing can be signed in the name of %x: is it of small order?", y)
		}
	}
}

func TestOtherKeysAreValid(t *testing.T) {
	for i := range uint64(20000) {
		var seed [32]byte
		binary.LittleEndian.PutUint64(seed[:], i)
		if key := [32]byte(ed25519.NewKeyFromSeed(seed[:])[32:]); !Valid(key) {
			t.Fatalf("%x is not valid", key)
		}
	}
	for _, y := range smallOrder { // their neighbours are ordinary
		for _, d := range []int64{-1, 1} {
			near := y
			slices.Reverse(near[:])
			n := new(big.Int).Add(new(big.Int).SetBytes(near[:]), big.NewInt(d))
			if n.Sign() <= 0 || n.Cmp(one) == 0 || n.Cmp(prime) >= 0 || n.Cmp(new(big.Int).Sub(prime, one)) == 0 {
				continue
			}
			if key := encode(n, 0); !Valid(key) {
				t.Errorf("%x is not valid", key)
			}
		}
	}
}

func TestHalvesOfAPrivateKeyBelongTogether(t *testing.T) {
	good := ed25519.NewKeyFromSeed(make([]byte, 32))
	if err := Check(good); err != nil {
		t.Error(err)
	}
	other := slices.Concat(good[:32], ed25519.NewKeyFromSeed(slices.Repeat([]byte{1}, 32))[32:])
	weak := slices.Concat(good[:32], []byte{1}, make([]byte, 31))
	for _, bad := range []ed25519.PrivateKey{nil, good[:63], other, weak, make([]byte, 64)} {
		if Check(bad) == nil {
			t.Errorf("%x passes", []byte(bad))
		}
	}
}

func BenchmarkValid(b *testing.B) {
	key := [32]byte(ed25519.NewKeyFromSeed(make([]byte, 32))[32:])
	for b.Loop() {
		Valid(key)
	}
}
