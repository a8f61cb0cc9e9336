package reach

import (
	"net/netip"
	"testing"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// A node serves until it is known that nobody gets in, and while it is not known
// everywhere; one that does not know any more stays what it is for a while.
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
		{7 * time.Hour, Sum{Doubt: true, NATed: true, Hope: true}, false, true},
		{7*time.Hour + maxDoubt, Sum{Doubt: true, NATed: true, Hope: true}, false, false},
		{7*time.Hour + maxDoubt, Sum{Doubt: true, All: true, NATed: true}, false, true},
		{8*time.Hour - maxDoubt, Sum{NATed: true}, false, true},
		{8 * time.Hour, Sum{NATed: true}, false, false},
	} {
		if got := d.Decide(step.sum, step.trying, start.Add(step.after)); got != step.want {
			t.Errorf("after %v, %+v: a client %v", step.after, step.sum, got)
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
	s.SendsTo(peer, now)
	s.Vote(peer.Addr(), 4774, outside, now)
	want("one sees us elsewhere", now, Sum{NATed: true})
	asks(1)
	s.CouldNot(outside, wire.PeerID{1}, SiteOf(peer.Addr()), now, now)
	want("it could not connect, and there is nobody else", now, Sum{NATed: true, Doubt: true, All: true})
	asks(1, 2)
	want("there is another", now, Sum{NATed: true, Doubt: true})
	asks(1)
	s.CameIn(Entry{From: ipv4(6, 6, 6, 6), At: outside, Fresh: true}, now)
	want("one whom we know comes in", now, Sum{NATed: true, Doubt: true, All: true, Hope: true})
	s.CameIn(Entry{From: ipv4(7, 7, 7, 7), At: netip.MustParseAddrPort("8.8.8.8:2"), Fresh: true, Unbidden: true}, now)
	want("a stranger comes in, who alone knows where", now, Sum{NATed: true, Hope: true})
	want("that was an hour ago", now.Add(noLife+1), Sum{NATed: true}) // and so was the no
	if !s.MayRelay(now) {
		t.Error("where strangers come in it does not relay")
	}
	s.CameIn(Entry{From: ipv4(7, 7, 7, 7), At: outside, Fresh: true, Unbidden: true}, now)
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

// One liar makes no client of a machine that has a public address itself.
func TestSumOfAPublicMachine(t *testing.T) {
	now := time.Unix(1e9, 0)
	own, lie := netip.MustParseAddrPort("8.8.8.8:1"), netip.MustParseAddrPort("7.7.7.7:7")
	liar := Answerer{ID: wire.PeerID{1}, At: ipv4(9, 9, 9, 1)}
	s := New(Config{Alone: func() bool { return true }})
	s.ListensOn(own)
	s.SendsTo(netip.AddrPortFrom(liar.At, 1), now)
	s.Vote(liar.At, 1, lie, now)
	for _, at := range []netip.AddrPort{own, lie} {
		s.Answerers(at, true, []Answerer{liar}, now)
		s.CouldNot(at, wire.PeerID{2}, SiteOf(liar.At), now, now)
	}
	sum := s.Sum(now)
	if want := (Sum{NATed: true, Doubt: true}); sum != want {
		t.Errorf("by a liar's word %+v, want %+v", sum, want)
	}
	if new(Decision).Decide(sum, false, now) {
		t.Error("a client by a liar's word")
	}
}
