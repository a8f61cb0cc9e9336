package reach

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/kadquic/kadquic/wire"
)

func ipv4(a, b, c, d byte) netip.Addr { return netip.AddrFrom4([4]byte{a, b, c, d}) }

// Each network has one vote, the latest of its peers'; it ends ten minutes after
// its voter was last there.
func TestVotes(t *testing.T) {
	var v votes
	now := time.Unix(1e9, 0)
	here, there := netip.MustParseAddrPort("8.8.8.8:1"), netip.MustParseAddrPort("8.8.8.8:2")
	want := func(addr netip.AddrPort, n int) {
		t.Helper()
		if got := v.counts()[addr]; got != n {
			t.Errorf("%v has %d votes, want %d", addr, got, n)
		}
	}
	for i := range byte(5) { // of one /24, and one of another
		v.cast(ipv4(9, 0, 0, i), 1, here, now)
	}
	v.cast(ipv4(9, 0, 1, 0), 1, here, now)
	want(here, 2)
	v.cast(ipv4(9, 0, 1, 9), 1, there, now) // the second network has moved on
	want(here, 1)
	v.cast(netip.MustParseAddr("2600::1"), 1, there, now)
	v.cast(netip.MustParseAddr("2600::2"), 1, there, now) // one /64
	want(there, 2)
	v.stand(ipv4(9, 0, 1, 0), 1, here, now.Add(time.Minute)) // who said so before changes nothing
	want(there, 2)
	v.stand(ipv4(9, 0, 0, 0), 1, here, now.Add(time.Minute))
	v.expire(now.Add(voteLife + time.Second))
	want(here, 1)
	want(there, 0)
	v.expire(now.Add(voteLife + 2*time.Minute))
	want(here, 0)

	for i := range 2 * maxVotes {
		v.cast(ipv4(9, byte(i>>8), byte(i), 0), 1, here, now.Add(time.Duration(i)))
	}
	want(here, maxVotes)
}

// What a NAT does shows in the ports that peers in different networks see
// (RFC 4787 §4.1); one liar among them changes nothing.
func TestMapping(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	outside := ipv4(8, 8, 8, 8)
	own := netip.AddrPortFrom(outside, 4774)
	port := func(kind string, i int) uint16 {
		switch kind {
		case "own":
			return 4774
		case "one":
			return 61001
		case "next":
			return 2000 + 3*uint16(i)
		}
		return uint16(1024 + r.IntN(64000))
	}
	for _, c := range []struct {
		kind   string
		voters int
		liar   bool
		want   wire.Mapping
	}{
		{"own", 0, false, wire.MappingUnknown},
		{"own", 1, false, wire.MappingUnknown},
		{"own", 2, false, wire.MappingNone},
		{"own", 20, true, wire.MappingNone},
		{"one", 1, false, wire.MappingUnknown},
		{"one", 2, false, wire.MappingIndependent},
		{"one", 2, true, wire.MappingIndependent},
		{"one", 20, true, wire.MappingIndependent},
		{"next", 2, false, wire.MappingUnknown},
		{"next", 3, false, wire.MappingSequential},
		{"next", 20, true, wire.MappingSequential},
		{"random", 2, false, wire.MappingUnknown},
		{"random", 3, false, wire.MappingRandom},
		{"random", 100, true, wire.MappingRandom},
	} {
		t.Run(fmt.Sprint(c.kind, c.voters, c.liar), func(t *testing.T) {
			var v votes
			now := time.Unix(1e9, 0)
			for i := range c.voters {
				v.cast(ipv4(9, 0, byte(i), 1), 4774, netip.AddrPortFrom(outside, port(c.kind, i)), now)
			}
			if c.liar {
				v.cast(ipv4(7, 0, 0, 1), 4774, netip.MustParseAddrPort("1.2.3.4:5"), now)
			}
			v.cast(ipv4(192, 168, 1, 1), 4774, netip.MustParseAddrPort("192.168.1.7:4774"), now) // says nothing of NATs
			v.cast(netip.MustParseAddr("2600::1"), 4774, netip.MustParseAddrPort("[2601::1]:9"), now)
			if got, _ := v.mapping(true, func(a netip.AddrPort) bool { return a == own }); got != c.want {
				t.Errorf("mapping %v, want %v", got, c.want)
			}
		})
	}
}
