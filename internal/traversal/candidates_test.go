package traversal

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/kadquic/kadquic/wire"
)

// A peer that called through a relay may have us send probes to global addresses, and to
// private ones only if we have such an address.
func TestWhereProbesMayGo(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		far, near := netip.MustParseAddr("9.9.9.9"), netip.MustParseAddr("127.0.0.1")
		for _, c := range []struct {
			addr  string
			relay netip.Addr
			want  bool
		}{
			{"8.8.8.8:4774", far, true},
			{"[2600::1]:4774", far, true},
			{"192.168.1.1:4774", far, false}, // this node has no private address
			{"127.0.0.1:4774", far, false},
			{"127.0.0.1:4774", near, true},
			{"169.254.1.1:4774", far, false},
			{"[fe80::1]:4774", far, false},
			{"[2002::1]:4774", far, false},
			{"224.0.0.1:4774", far, false},
			{"255.255.255.255:4774", far, false},
			{"0.0.0.0:4774", far, false},
			{"8.8.8.8:0", far, false},
			{"[100::]:0", far, false}, // stands for the address of a relayed peer
		} {
			if got := w.mayProbe(netip.MustParseAddrPort(c.addr), c.relay); got != c.want {
				t.Errorf("%s, relay at %v: %v", c.addr, c.relay, got)
			}
		}
	})
}

func TestOfferNamesTheLAN(t *testing.T) {
	var guesses, candidates []netip.AddrPort
	for i := range uint16(20) {
		guesses = append(guesses, netip.AddrPortFrom(netip.MustParseAddr("25.1.2.3"), 5000+i))
	}
	for i := range 12 {
		candidates = append(candidates, netip.MustParseAddrPort(fmt.Sprintf("[2600::%d]:4774", i+1)))
	}
	v6, lan := candidates[0], netip.MustParseAddrPort("192.168.7.1:4774")
	candidates = append(candidates, lan)
	for i := range 10 { // bridges of the host's containers, which no other host reaches
		candidates = append(candidates, netip.MustParseAddrPort(fmt.Sprintf("172.%d.0.1:4774", 17+i)))
	}
	addrs := offerAddrs(guesses, candidates)
	if len(addrs) != wire.MaxCandidates || !slices.Contains(addrs, wire.AddrFrom(lan)) || !slices.Contains(addrs, wire.AddrFrom(v6)) {
		t.Errorf("%d addresses: %v", len(addrs), addrs)
	}
}
