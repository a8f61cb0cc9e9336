package wire

import (
	"errors"
	"net/netip"
	"reflect"
	"testing"
	"time"
)

// A signed offer decodes to itself; with any bit changed it is refused.
func TestCandidateOffer(t *testing.T) {
	for _, c := range []struct {
		name string
		i    CandidateOffer
	}{{"call", sampleOffer()}, {"answer", answer()}} {
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
			if i, err := ParseCandidateOffer(b); !errors.Is(err, ErrCandidateOffer) {
				t.Fatalf("%s: byte %d changed, and still %+v, %v", c.name, at, i, err)
			}
			b[at] ^= 1
		}
		for _, bad := range [][]byte{nil, b[:64], b[:len(b)-1], append(b, 0), make([]byte, MaxCandidateOffer+1)} {
			if i, err := ParseCandidateOffer(bad); !errors.Is(err, ErrCandidateOffer) {
				t.Errorf("%s: %d bytes are %+v, %v", c.name, len(bad), i, err)
			}
		}
	}
}

// The largest offer fits a CALL; surplus addresses are left out.
func TestLargestCandidateOffer(t *testing.T) {
	i := sampleOffer()
	i.Reply, i.Birthday, i.Mapping, i.At = i.Key, true, MappingRandom, time.UnixMilli(maxMillis).UTC()
	i.Addrs = []Addr{addrDNS}
	for n := range 2 * MaxCandidates {
		i.Addrs = append(i.Addrs, AddrFrom(netip.AddrPortFrom(addr6IP(), uint16(n+1))))
	}
	b := i.Sign(alice)
	got, err := ParseCandidateOffer(b)
	if err != nil || len(got.Addrs) != MaxCandidates || got.Addrs[0] != i.Addrs[1] {
		t.Fatalf("%d bytes: %+v, %v", len(b), got, err)
	}
	if len(b) > MaxCandidateOffer-256 {
		t.Errorf("%d bytes: too little room for fields of the future", len(b))
	}
	if MaxGuess >= MaxCandidates {
		t.Error("guesses leave no room for other candidates")
	}
}

func addr6IP() netip.Addr {
	ap, _ := addr6.AddrPort()
	return ap.Addr()
}

func TestMappingNames(t *testing.T) {
	for m, want := range map[Mapping]string{MappingUnknown: "unknown", MappingNone: "none", MappingIndependent: "endpoint-independent",
		MappingSequential: "endpoint-dependent, sequential", MappingRandom: "endpoint-dependent, random", 200: "unknown"} {
		if m.String() != want {
			t.Errorf("%d is %q, want %q", m, m, want)
		}
	}
}
