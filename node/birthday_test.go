package node

import (
	"net/netip"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/punch"
	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/wire"
)

// Both sides of a search must begin it: who searches goes by what this call has told the
// peer of our NAT, not by what we have found out since.
func TestASearchGoesByWhatWasTold(t *testing.T) {
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *swarm) {
		n, now := s.nodes[0], time.Now()
		for i := range 4 {
			by := netip.AddrFrom4([4]byte{25, byte(i), 0, 1})
			n.self.Vote(by, 4774, netip.AddrPortFrom(netip.MustParseAddr("26.1.0.1"), uint16(9000+7919*i)), now)
		}
		if m := n.mapping(); m != wire.MappingRandom {
			t.Fatalf("the NAT counts as %v", m)
		}
		peer := wire.Introduction{
			Mapping: wire.MappingIndependent, Birthday: true,
			Addrs: []wire.Addr{wire.AddrFrom(netip.MustParseAddrPort("26.2.0.1:5000"))},
		}
		for told, scatters := range map[wire.Mapping]bool{wire.MappingUnknown: false, wire.MappingRandom: true} {
			call, err := punch.NewCall(punch.Config{Rand: randomUint64}, now, now, nil)
			if err != nil {
				t.Fatal(err)
			}
			m, a := newTryst(n, wire.PeerID{7}), &attempt{s: call, own: told, came: true}
			m.named(now, a, peer, peer.Addrs[0], netip.MustParseAddr("25.0.0.1"))
			if a.birthday.scatter != scatters || a.birthday.search {
				t.Errorf("told %v: opens many sockets %v, want %v", told, a.birthday.scatter, scatters)
			}
		}
	})
}
