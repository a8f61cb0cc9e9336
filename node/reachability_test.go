package node

import (
	"net/netip"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/wire"
)

// reachOf is what n knows of one of its addresses.
func reachOf(n *Node, at netip.AddrPort) OwnAddr {
	for _, a := range n.Reachability().Addrs {
		if a.Addr == wire.AddrFrom(at) {
			return a
		}
	}
	return OwnAddr{}
}

// An unsolicited connection proves an address reachable: the first node of a network learns it from
// all later ones, the last node from none.
func TestUnsolicitedConnectionProvesReachability(t *testing.T) {
	inSwarm(t, 3, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		time.Sleep(time.Second)
		r := s.nodes[0].Reachability()
		if r.Mode != ModeServer || r.IPv4.Mapping != MappingNone || r.IPv4.Votes != 2 || r.IPv6 != (NAT{}) || r.Why == "" {
			t.Errorf("the first: %+v", r)
		}
		if a := reachOf(s.nodes[0], host(0)); a.Reach != ReachYes || !a.Local || !a.Told || a.Votes != 2 || a.Since.IsZero() {
			t.Errorf("the first: %+v", a)
		}
		if a := reachOf(s.nodes[2], host(2)); a.Reach != ReachUnknown || !a.Since.IsZero() {
			t.Errorf("the last has contacted all others, and says %+v", a)
		}
		time.Sleep(time.Hour)
		x := s.stranger(0)
		x.hello.Observed = wire.AddrFrom(host(2))
		x.meet(s.nodes[2])
		if a := reachOf(s.nodes[2], host(2)); a.Reach != ReachYes {
			t.Errorf("the last, once a stranger has come: %+v", a)
		}
	})
}

// A connection over IPv6 proves nothing about IPv4, whatever the peer claims.
func TestConnectionOfAnotherFamilyProvesNothing(t *testing.T) {
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		x := s.strangerAt(10, netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x26, 1, 15: 1}), 4774))
		x.hello.Observed = wire.AddrFrom(host(0))
		x.meet(s.nodes[0])
		if a := reachOf(s.nodes[0], host(0)); a.Reach != ReachUnknown {
			t.Errorf("IPv4 is within reach, as one by IPv6 says: %+v", a)
		}
	})
}

// A peer to which something was sent in the last ten minutes proves nothing, because a filter may be
// open to it alone.
func TestContactedPeerProvesNothing(t *testing.T) {
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		n := s.nodes[0]
		call := func(i int) *stranger {
			x := s.stranger(i)
			x.hello = wire.Hello{Mode: wire.ModeClient, Observed: wire.AddrFrom(host(0))}
			n.self.MarkContacted(x.at, time.Now())
			return x
		}
		called, earlier := call(0), call(1)
		time.Sleep(reach.FilterLife - time.Second)
		called.meet(n)
		if a := reachOf(n, host(0)); a.Reach != ReachUnknown {
			t.Errorf("after one that was called: %+v", a)
		}
		time.Sleep(2 * time.Second)
		earlier.meet(n)
		if a := reachOf(n, host(0)); a.Reach != ReachYes {
			t.Errorf("after one that was called long ago: %+v", a)
		}
	})
}
