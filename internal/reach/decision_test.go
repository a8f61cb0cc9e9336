package reach

import (
	"net/netip"
	"testing"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// A node is a server until it is known to be unreachable at every address. Without a verdict it
// keeps its mode for a while.
func TestDecision(t *testing.T) {
	var d Decision
	start := time.Unix(1e9, 0)
	for _, step := range []struct {
		after  time.Duration
		sum    Sum
		trying bool
		want   bool
	}{
		{0, Sum{}, false, false},
		{1, Sum{No: true}, true, false},
		{2, Sum{No: true, Hope: true}, false, false},
		{3, Sum{No: true}, false, true},
		{4, Sum{No: true, Hope: true}, true, true},
		{5, Sum{Yes: true, No: true}, false, false},
		{6, Sum{No: true}, false, true},
		{7, Sum{}, false, true},
		{7 + maxDoubt - 1, Sum{}, false, true},
		{7 + maxDoubt, Sum{}, false, false},
		{time.Hour, Sum{No: true}, false, true},
		{2 * time.Hour, Sum{}, false, true},
		{2*time.Hour + 1, Sum{No: true}, false, true}, // no doubt any more
		{3 * time.Hour, Sum{}, false, true},
		{4 * time.Hour, Sum{}, false, false},
		{5 * time.Hour, Sum{Doubt: true, All: true}, false, false}, // a firewall, perhaps
		{5 * time.Hour, Sum{Doubt: true, NATed: true}, false, false},
		{5 * time.Hour, Sum{Doubt: true, All: true, NATed: true}, true, false},
		{5 * time.Hour, Sum{Doubt: true, All: true, NATed: true}, false, true},
		{6 * time.Hour, Sum{Doubt: true, NATed: true}, false, true}, // there are others now, who have said nothing yet
		{7 * time.Hour, Sum{Doubt: true, NATed: true, Hope: true, Open: true}, false, true},
		{7*time.Hour + maxDoubt, Sum{Doubt: true, NATed: true, Hope: true, Open: true}, false, false},
		{7*time.Hour + maxDoubt, Sum{Doubt: true, All: true, NATed: true}, false, true},
		{8*time.Hour - maxDoubt, Sum{NATed: true}, false, true},
		{8 * time.Hour, Sum{NATed: true}, false, false},
	} {
		if got := d.Decide(step.sum, Progress{Trying: step.trying}, start.Add(step.after)); got != step.want {
			t.Errorf("after %v, %+v: a client %v", step.after, step.sum, got)
		}
	}
}

// Once all that there are to ask have been asked again and again, less than certainty
// makes a client, also in the smallest network; and it stays one until that changes.
func TestDecisionAfterThoroughAsking(t *testing.T) {
	start := time.Unix(1e9, 0)
	for _, c := range []struct {
		name   string
		sum    Sum
		client bool
	}{
		{"an address-restricted NAT", Sum{Hope: true, NATed: true}, true},
		{"the same, and one could not get in", Sum{Hope: true, NATed: true, Doubt: true, All: true, Everyone: true}, true},
		{"the same, and a firewall of IPv6", Sum{No: true, Hope: true, NATed: true}, true},
		{"a NAT whose router maps the port", Sum{Hope: true, Open: true, NATed: true}, false},
		{"a public machine among those it has called", Sum{Hope: true, Open: true}, false},
		{"a firewall before a public address, and all say so", Sum{Doubt: true, Everyone: true}, true},
		{"the same, and not all say so", Sum{Doubt: true}, false},
		{"the same, and some get in", Sum{Doubt: true, Everyone: true, Hope: true, Open: true}, false},
		{"nobody has been found to ask", Sum{NATed: true}, false},
		{"somebody comes in unbidden", Sum{Yes: true, Hope: true, NATed: true}, false},
	} {
		var d Decision
		if d.Decide(c.sum, Progress{}, start) && !c.sum.All && !c.sum.No {
			t.Errorf("%s: a client before there was time to ask", c.name)
		}
		if got := d.Decide(c.sum, Progress{Thorough: true}, start); got != c.client {
			t.Errorf("%s: a client %v", c.name, got)
		}
		if got := d.Decide(c.sum, Progress{}, start.Add(time.Hour)); got != c.client {
			t.Errorf("%s, an hour later: a client %v", c.name, got)
		}
		if d.Decide(Sum{Yes: true}, Progress{}, start.Add(2*time.Hour)) {
			t.Errorf("%s: a client, though strangers come in", c.name)
		}
	}
}

// What one peer says of a node behind a NAT is all there is in a network of one.
func TestSum(t *testing.T) {
	now := time.Unix(1e9, 0)
	outside := netip.MustParseAddrPort("8.8.8.8:1")
	peer := netip.MustParseAddrPort("9.9.9.9:1")
	alone := true
	s := New(Config{Alone: func() bool { return alone }})
	s.ListensOn(netip.MustParseAddrPort("192.168.1.7:4774"))
	want := func(when string, now time.Time, sum Sum) {
		t.Helper()
		if got := s.Sum(now); got != sum {
			t.Errorf("%s: %+v, want %+v", when, got, sum)
		}
	}
	asks := func(i ...byte) {
		var all []Answerer
		for _, i := range i {
			all = append(all, Answerer{ID: wire.PeerID{i}, At: ipv4(9, 9, i, 1)})
		}
		s.Answerers(outside, true, all, now)
	}
	want("nothing is known", now, Sum{})
	s.MarkContacted(peer, now)
	s.Vote(peer.Addr(), 4774, outside, now)
	want("one sees us elsewhere", now, Sum{NATed: true})
	asks(1)
	s.DialFailed(outside, wire.PeerID{1}, SiteOf(peer.Addr()), now, now)
	want("it could not connect, and there is nobody else", now, Sum{NATed: true, Doubt: true, All: true, Everyone: true})
	asks(1, 2)
	want("there is another", now, Sum{NATed: true, Doubt: true})
	asks(1)
	s.OnInbound(Entry{From: ipv4(6, 6, 6, 6), At: outside, Fresh: true}, now)
	want("one whom we know comes in", now, Sum{NATed: true, Doubt: true, All: true, Everyone: true, Hope: true})
	s.OnInbound(Entry{From: ipv4(7, 7, 7, 7), At: netip.MustParseAddrPort("8.8.8.8:2"), Fresh: true, Unsolicited: true}, now)
	want("a stranger comes in, who alone knows where", now, Sum{NATed: true, Hope: true, Open: true})
	want("that was an hour ago", now.Add(noLife+1), Sum{NATed: true}) // and so was the no
	if !s.MayRelay(now) {
		t.Error("where strangers come in it does not relay")
	}
	s.OnInbound(Entry{From: ipv4(7, 7, 7, 7), At: outside, Fresh: true, Unsolicited: true}, now)
	want("a stranger comes in where another sees us", now, Sum{Yes: true})
	s.Moved(now)
	want("elsewhere", now, Sum{})
	s.Vote(peer.Addr(), 4774, outside, now)
	if alone = false; s.Sum(now).NATed {
		t.Error("one of many is believed")
	}
	if s.MayRelay(now) {
		t.Error("behind a NAT it relays")
	}
}

// One liar makes no client at once of a machine that has a public address itself.
func TestSumOfAPublicMachine(t *testing.T) {
	now := time.Unix(1e9, 0)
	own, lie := netip.MustParseAddrPort("8.8.8.8:1"), netip.MustParseAddrPort("7.7.7.7:7")
	liar := Answerer{ID: wire.PeerID{1}, At: ipv4(9, 9, 9, 1)}
	s := New(Config{Alone: func() bool { return true }})
	s.ListensOn(own)
	s.MarkContacted(netip.AddrPortFrom(liar.At, 1), now)
	s.Vote(liar.At, 1, lie, now)
	for _, at := range []netip.AddrPort{own, lie} {
		s.Answerers(at, true, []Answerer{liar}, now)
		s.DialFailed(at, wire.PeerID{2}, SiteOf(liar.At), now, now)
	}
	sum := s.Sum(now)
	if want := (Sum{NATed: true, Doubt: true, Everyone: true}); sum != want {
		t.Errorf("by a liar's word %+v, want %+v", sum, want)
	}
	if new(Decision).Decide(sum, Progress{}, now) {
		t.Error("a client by a liar's word")
	}
}
