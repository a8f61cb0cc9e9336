package reach

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
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
	v.expire(now.Add(voteLife + time.Second)) // who said something else since is gone
	want(here, 2)
	want(there, 0)
	v.expire(now.Add(voteLife + 2*time.Minute))
	want(here, 0)

	for i := range 2 * maxVotes {
		v.cast(ipv4(9, byte(i>>8), byte(i), 0), 1, here, now.Add(time.Duration(i)))
	}
	want(here, maxVotes)
}

// A network that has many addresses neither fills the room nor outvotes the others, and
// still has one vote for an address.
func TestManyVotersOfOneNetwork(t *testing.T) {
	var v votes
	now := time.Unix(1e9, 0)
	honest, lie := netip.MustParseAddrPort("8.8.8.8:1"), netip.MustParseAddrPort("8.8.8.8:2")
	for i := range byte(4) {
		v.cast(ipv4(7, 0, i, 1), 1, honest, now)
	}
	for i := range 250 {
		v.cast(ipv4(9, 0, 0, byte(i)), 1, lie, now.Add(time.Duration(i)))
	}
	if len(v.of) != 4+maxOfNetwork || v.counts()[lie] != 1 || v.besides(lie, NetworkOf(ipv4(9, 0, 0, 0))) != 0 {
		t.Errorf("%d votes, %d of them for the lie", len(v.of), v.counts()[lie])
	}
	if m, _ := v.mapping(true, func(netip.AddrPort) bool { return false }); m != wire.MappingIndependent {
		t.Errorf("the mapping is %v", m)
	}
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
		{"own, one /24", 3, false, wire.MappingNone},
		{"one, one /24", 3, false, wire.MappingIndependent},
		{"next, one /24", 3, false, wire.MappingSequential},
		{"random, one /24", 3, false, wire.MappingRandom},
	} {
		t.Run(fmt.Sprint(c.kind, c.voters, c.liar), func(t *testing.T) {
			var v votes
			now := time.Unix(1e9, 0)
			kind, hoster := strings.CutSuffix(c.kind, ", one /24")
			for i := range c.voters {
				by := ipv4(9, 0, byte(i), 1)
				if hoster {
					by = ipv4(9, 0, 0, byte(i))
				}
				v.cast(by, 4774, netip.AddrPortFrom(outside, port(kind, i)), now.Add(time.Duration(i)*time.Millisecond))
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

// Ports at random in the small block that a carrier gives to a subscriber (RFC 7753)
// hardly ever look sequential, however many peers vote. The ports of a NAT that allocates the next
// port do, although it serves other hosts in between.
func TestPortBlocks(t *testing.T) {
	const trials = 400
	outside := ipv4(8, 8, 8, 8)
	r := rand.New(rand.NewPCG(1, 2))
	for _, voters := range []int{3, 5, 8, 20, 60} {
		count := func(ports func(i int) int) (sequential int) {
			for range trials {
				var v votes
				now := time.Unix(1e9, 0)
				for i := range voters {
					now = now.Add(time.Duration(r.ExpFloat64() * float64(time.Second)))
					v.cast(ipv4(9, 0, byte(i), 1), 4774, netip.AddrPortFrom(outside, uint16(ports(i))), now)
				}
				if m, _ := v.mapping(true, func(netip.AddrPort) bool { return false }); m == wire.MappingSequential {
					sequential++
				}
			}
			return sequential
		}
		block := r.Perm(512)
		random := count(func(i int) int {
			if i == 0 {
				block = r.Perm(512)
			}
			return 5120 + block[i]
		})
		at := 0
		next := count(func(i int) int {
			if i == 0 {
				at = 2000
			}
			at += 1 + r.IntN(9)
			return at
		})
		t.Logf("%d peers: random ports of a block of 512 are called sequential in %d of %d trials, sequential ones in %d", voters, random, trials, next)
		if random > trials/20 || next < trials*19/20 {
			t.Errorf("%d peers: want less than 5 %%, and more than 95 %%", voters)
		}
	}
}
