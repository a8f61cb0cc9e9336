package wire

import (
	"errors"
	"net/netip"
	"reflect"
	"testing"
	"time"
)

// What is signed comes back; a bit changed anywhere, or another's name, does not.
func TestIntroduction(t *testing.T) {
	for _, c := range []struct {
		name string
		i    CandidateOffer
	}{{"call", introduction()}, {"answer", answer()}} {
		key := alice
		if c.i.From == idOf(bob) {
			key = bob
		}
		b := c.i.Sign(key)
		got, err := ParseCandidateOffer(b)
		if err != nil || !reflect.DeepEqual(got, c.i) {
			t.Fatalf("%s: went %+v, came %+v, %v", c.name, c.i, got, err)
		}
		for at := range b {
			b[at] ^= 1
			if i, err := ParseCandidateOffer(b); !errors.Is(err, ErrIntroduction) {
				t.Fatalf("%s: byte %d changed, and still %+v, %v", c.name, at, i, err)
			}
			b[at] ^= 1
		}
		for _, bad := range [][]byte{nil, b[:64], b[:len(b)-1], append(b, 0), make([]byte, MaxIntro+1)} {
			if i, err := ParseCandidateOffer(bad); !errors.Is(err, ErrIntroduction) {
				t.Errorf("%s: %d bytes are %+v, %v", c.name, len(bad), i, err)
			}
		}
	}
}

// The largest introduction fits a CALL; what is too much is left out.
func TestIntroductionLargest(t *testing.T) {
	i := introduction()
	i.Reply, i.Birthday, i.Mapping, i.At = i.Key, true, MappingRandom, time.UnixMilli(maxMillis).UTC()
	i.Addrs = []Addr{addrDNS}
	for n := range 2 * MaxOfferAddrs {
		i.Addrs = append(i.Addrs, AddrFrom(netip.AddrPortFrom(addr6IP(), uint16(n+1))))
	}
	b := i.Sign(alice)
	got, err := ParseCandidateOffer(b)
	if err != nil || len(got.Addrs) != MaxOfferAddrs || got.Addrs[0] != i.Addrs[1] {
		t.Fatalf("%d bytes: %+v, %v", len(b), got, err)
	}
	if len(b) > MaxIntro-256 {
		t.Errorf("%d bytes: too little room for fields of the future", len(b))
	}
	if MaxGuess >= MaxOfferAddrs {
		t.Error("guesses leave no room for what is known")
	}
}

func addr6IP() netip.Addr {
	ap, _ := addr6.AddrPort()
	return ap.Addr()
}

func TestMappingNames(t *testing.T) {
	for m, want := range map[Mapping]string{MappingUnknown: "unknown", MappingNone: "none", MappingIndependent: "endpoint-independent",
		MappingSequential: "sequential", MappingRandom: "random", 200: "unknown"} {
		if m.String() != want {
			t.Errorf("%d is %q, want %q", m, m, want)
		}
	}
}
