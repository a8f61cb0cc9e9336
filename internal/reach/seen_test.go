package reach

import (
	"net/netip"
	"testing"
	"time"
)

// What others see of a node tells whether a NAT stands before it, whatever the
// NAT does to ports.
func TestLooksNATed(t *testing.T) {
	own := netip.MustParseAddrPort("10.0.0.5:4774")
	public := netip.MustParseAddrPort("25.0.9.1:4774")
	outside := func(port uint16) netip.AddrPort {
		return netip.AddrPortFrom(netip.MustParseAddr("25.0.8.1"), port)
	}
	now := time.Now()
	for _, c := range []struct {
		name string
		own  netip.AddrPort
		seen []netip.AddrPort // by one network each
		yes  bool             // a stranger connected
		want bool
	}{
		{"nobody has said", own, nil, false, false},
		{"one says so", own, []netip.AddrPort{outside(1)}, false, false},
		{"endpoint-independent", own, []netip.AddrPort{outside(1), outside(1)}, false, true},
		{"symmetric", own, []netip.AddrPort{outside(1), outside(2), outside(3)}, false, true},
		{"public", public, []netip.AddrPort{public, public, public}, false, false},
		{"public, and two liars", public, []netip.AddrPort{public, public, outside(1), outside(2)}, false, false},
		{"peers in the house", own, []netip.AddrPort{own, own, own}, false, false},
		{"a full cone, by which somebody came in", own, []netip.AddrPort{outside(1), outside(1)}, true, false},
	} {
		s := New(Config{})
		s.ListensOn(c.own)
		for i, at := range c.seen {
			s.Vote(ipv4(25, 0, byte(i), 1), own.Port(), at, now)
		}
		if c.yes {
			s.judgeLocked(c.seen[0], Verdict{yes: now})
		}
		if got := s.Sum(now).NATed; got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
