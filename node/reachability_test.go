package node

import (
	"net/netip"
	"slices"
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

// Whoever connects from where nothing was sent to shows that an address is
// within reach: who joined last knows it of nobody, the first of all others.
func TestWhoComesInShowsTheWay(t *testing.T) {
	inSwarm(t, 3, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *swarm) {
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

// Who comes by IPv6 does not show that IPv4 lets anybody in, whatever it says.
func TestWhoCameByAnotherFamilyShowsNothing(t *testing.T) {
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *swarm) {
		x := s.strangerAt(10, netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x26, 1, 15: 1}), 4774))
		x.hello.Observed = wire.AddrFrom(host(0))
		x.meet(s.nodes[0])
		if a := reachOf(s.nodes[0], host(0)); a.Reach != ReachUnknown {
			t.Errorf("IPv4 is within reach, as one by IPv6 says: %+v", a)
		}
	})
}

// Who was sent something in the last ten minutes may come through a filter that
// is open to nobody else.
func TestWhoWasCalledShowsNothing(t *testing.T) {
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *swarm) {
		n := s.nodes[0]
		call := func(i int) *stranger {
			x := s.stranger(i)
			x.hello = wire.Hello{Mode: wire.ModeClient, Observed: wire.AddrFrom(host(0))}
			n.self.sendsTo(x.at, time.Now())
			return x
		}
		called, earlier := call(0), call(1)
		time.Sleep(filterLife - time.Second)
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

// By IPv4 and by IPv6 apart, addresses where nobody gets in are left out once
// others are known to be good, and those come first.
func TestAddressesByVerdict(t *testing.T) {
	at := func(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }
	s := selfAddrs{enough: func() int { return minVotes }}
	for _, a := range []string{"8.8.8.8:1", "9.9.9.9:1", "192.168.1.7:1", "[2600::1]:1", "[2600::2]:1"} {
		s.listensOn(at(a))
	}
	got := func() (addrs []string) {
		for _, a := range s.addrs() {
			ap, _ := a.AddrPort()
			addrs = append(addrs, ap.String())
		}
		return addrs
	}
	want := func(when string, addrs ...string) {
		t.Helper()
		if got := got(); !slices.Equal(got, addrs) {
			t.Errorf("%s: %v, want %v", when, got, addrs)
		}
	}
	now := time.Now()
	via := func(i byte) netip.Prefix { return reach.NetworkOf(ipv4(9, 0, i, 1)) }
	no := verdict{}.failed(wire.PeerID{1}, via(1), now).failed(wire.PeerID{2}, via(2), now)
	no = no.failed(wire.PeerID{2}, via(3), now).failed(wire.PeerID{3}, via(2), now)
	if no.reach() != ReachUnknown {
		t.Error("two noes are enough, or two askers")
	}
	if late := no.failed(wire.PeerID{3}, via(3), now.Add(noLife+1)); late.reach() != ReachUnknown || len(late.noes) != 1 {
		t.Errorf("old noes count: %+v", late)
	}
	no = no.failed(wire.PeerID{3}, via(3), now)
	want("unknown", "8.8.8.8:1", "9.9.9.9:1", "[2600::1]:1", "[2600::2]:1", "192.168.1.7:1")
	s.judgeLocked(at("8.8.8.8:1"), no)
	want("one fails", "8.8.8.8:1", "9.9.9.9:1", "[2600::1]:1", "[2600::2]:1", "192.168.1.7:1")
	s.judgeLocked(at("[2600::2]:1"), verdict{yes: now})
	want("IPv6 works", "[2600::2]:1", "8.8.8.8:1", "9.9.9.9:1", "[2600::1]:1", "192.168.1.7:1")
	s.judgeLocked(at("9.9.9.9:1"), verdict{yes: now})
	want("the other works", "9.9.9.9:1", "[2600::2]:1", "[2600::1]:1", "192.168.1.7:1")
}

func TestContacted(t *testing.T) {
	var c contacted
	now := time.Unix(1e9, 0)
	if c.has(ipv4(9, 9, 9, 9), now) {
		t.Error("somebody was contacted")
	}
	at := func(ip netip.Addr) netip.AddrPort { return netip.AddrPortFrom(ip, 1) }
	c.note(at(ipv4(9, 9, 9, 9)), now)
	if other := netip.AddrPortFrom(ipv4(9, 9, 9, 9), 2); !c.has(other.Addr(), now) || c.hasPort(other, now) {
		t.Error("another port of one that was contacted")
	}
	for i := range maxContacted {
		c.note(at(ipv4(9, 0, byte(i>>8), byte(i))), now)
	}
	c.note(at(ipv4(8, 8, 8, 8)), now)
	if !c.has(ipv4(8, 8, 8, 8), now) || !c.hasPort(at(ipv4(8, 8, 8, 8)), now) || len(c.at) > maxContacted || len(c.ports) > maxContacted {
		t.Error("without room nobody is known not to have been contacted")
	}
	c.expire(now.Add(filterLife + 1))
	if c.has(ipv4(9, 0, 0, 0), now.Add(filterLife+1)) {
		t.Error("it is never forgotten")
	}
}
