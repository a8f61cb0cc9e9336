package routing

import (
	"encoding/json"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// anyKey draws keys of which many share long prefixes.
var anyKey = rapid.Custom(func(t *rapid.T) Key {
	k := Key(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "random"))
	return RandomKey(Key{0xa5, 31: 0x5a}, rapid.IntRange(0, KeyBits).Draw(t, "shared"), fixed(k))
})

// fixed is a source that gives the words of a key over and over.
func fixed(k Key) rand.Source { return &words{k: k} }

type words struct {
	k Key
	i int
}

func (w *words) Uint64() uint64 { w.i++; return w.k.word(w.i & 3) }

func TestDistanceLaws(t *testing.T) {
	number := func(d Distance) *big.Int {
		n := new(big.Int)
		for _, w := range d {
			n.Add(n.Lsh(n, 64), new(big.Int).SetUint64(w))
		}
		return n
	}
	rapid.Check(t, func(t *rapid.T) {
		x, y, z := anyKey.Draw(t, "x"), anyKey.Draw(t, "y"), anyKey.Draw(t, "z")
		xy, yz, xz := x.Distance(y), y.Distance(z), x.Distance(z)
		if x.Distance(x) != (Distance{}) || (xy == Distance{}) != (x == y) {
			t.Error("d(x, y) = 0 just when x = y")
		}
		if xy != y.Distance(x) {
			t.Error("d(x, y) = d(y, x)")
		}
		for i := range xz {
			if xz[i] != xy[i]^yz[i] {
				t.Error("d(x, z) = d(x, y) xor d(y, z)")
			}
		}
		if number(xz).Cmp(new(big.Int).Add(number(xy), number(yz))) > 0 {
			t.Error("d(x, z) ≤ d(x, y) + d(y, z)")
		}
		if xy.Compare(xz) != number(xy).Cmp(number(xz)) || x.CompareDistance(y, z) != xy.Compare(xz) {
			t.Error("distances do not compare as numbers")
		}
		if want := KeyBits - number(xy).BitLen(); x.CommonPrefixLen(y) != want {
			t.Errorf("common prefix %d, want %d", x.CommonPrefixLen(y), want)
		}
		if f, _ := new(big.Float).SetInt(number(xy)).Float64(); xy.Fraction() < f/0x1p256*0.999999 || xy.Fraction() > f/0x1p256*1.000001 {
			t.Errorf("fraction %v, want %v", xy.Fraction(), f/0x1p256)
		}
	})
}

func TestRandomKeyKeepsItsPrefix(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		prefix, rest := anyKey.Draw(t, "prefix"), anyKey.Draw(t, "rest")
		n := rapid.IntRange(0, KeyBits).Draw(t, "n")
		k := RandomKey(prefix, n, fixed(rest))
		if k.CommonPrefixLen(prefix) < n {
			t.Errorf("shares %d bits, want %d", k.CommonPrefixLen(prefix), n)
		}
		if flipped := RandomKey(prefix, n, fixed(flipAll(rest))); n < KeyBits && k.CommonPrefixLen(flipped) != n {
			t.Errorf("the bits after %d are not the source's", n)
		}
	})
}

func flipAll(k Key) Key {
	for i := range k {
		k[i] = ^k[i]
	}
	return k
}

// NIST's own examples of SHA3-256.
func TestKeyOf(t *testing.T) {
	for data, want := range map[string]string{
		"":    "a7ffc6f8bf1ed76651c14756a061d662f580ff4de43b49fa82d80a4b80f8434a",
		"abc": "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532",
	} {
		if got := KeyOf(data).String(); got != want {
			t.Errorf("KeyOf(%q) = %s, want %s", data, got, want)
		}
		if KeyOf([]byte(data)) != KeyOf(data) {
			t.Errorf("bytes and text of %q have different keys", data)
		}
	}
}

func TestKeyText(t *testing.T) {
	k := KeyOf("abc")
	upper, err := ParseKey(strings.ToUpper(k.String()))
	if err != nil || upper != k {
		t.Errorf("upper case: %v, %v", upper, err)
	}
	text, err := json.Marshal(map[Key]Key{k: k})
	if err != nil {
		t.Fatal(err)
	}
	var back map[Key]Key
	if err := json.Unmarshal(text, &back); err != nil || back[k] != k {
		t.Errorf("through JSON: %v, %v", back, err)
	}
	for _, bad := range []string{"", "12", k.String()[1:], k.String() + "0", "x" + k.String()[1:], strings.Repeat("é", 32)} {
		if _, err := ParseKey(bad); err == nil || !strings.Contains(err.Error(), "malformed key") {
			t.Errorf("ParseKey(%q): %v", bad, err)
		}
		before := k
		if k.UnmarshalText([]byte(bad)) == nil || k != before {
			t.Errorf("UnmarshalText(%q) took it", bad)
		}
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add(KeyOf("abc").String())
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		k, err := ParseKey(s)
		if err == nil && k.String() != strings.ToLower(s) {
			t.Errorf("ParseKey(%q) = %v", s, k)
		}
	})
}
