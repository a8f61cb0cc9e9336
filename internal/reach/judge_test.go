package reach

import (
	"net/netip"
	"testing"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// An inbound connection proves an address reachable only under the conditions of OnInbound.
func TestInboundConnectionProvesReachability(t *testing.T) {
	now := time.Unix(1e9, 0)
	own, outside, mapped := netip.MustParseAddrPort("8.8.8.8:1"), netip.MustParseAddrPort("7.7.7.7:2"), netip.MustParseAddrPort("7.7.7.7:3")
	stranger := Entry{From: ipv4(9, 9, 9, 9), At: own, Fresh: true, Unsolicited: true}
	with := func(change func(*Entry)) Entry {
		e := stranger
		change(&e)
		return e
	}
	for _, c := range []struct {
		name    string
		entries []Entry
		want    Answer
		hope    bool
	}{
		{"a stranger", []Entry{stranger}, Yes, false},
		{"from a port to which something was sent", []Entry{with(func(e *Entry) { e.Fresh, e.Unsolicited = false, false })}, Unknown, false},
		{"from another port of a known IP", []Entry{with(func(e *Entry) { e.Unsolicited = false })}, Unknown, true},
		{"from within", []Entry{with(func(e *Entry) { e.From = ipv4(192, 168, 1, 1) })}, Unknown, false},
		{"from our own network", []Entry{with(func(e *Entry) { e.From = ipv4(8, 8, 8, 9) })}, Unknown, false},
		{"by another family", []Entry{with(func(e *Entry) { e.From = netip.MustParseAddr("2600::1") })}, Unknown, false},
		{"at an address that is not ours", []Entry{with(func(e *Entry) { e.At = netip.MustParseAddrPort("6.6.6.6:1") })}, Unknown, false},
		{"at one that another sees", []Entry{with(func(e *Entry) { e.At = outside })}, Yes, false},
		{"one whom we know, where the router lets in", []Entry{with(func(e *Entry) { e.At, e.Unsolicited = mapped, false })}, Unknown, true},
		{"two whom we know, where the router lets in", []Entry{
			with(func(e *Entry) { e.At, e.Unsolicited = mapped, false }),
			with(func(e *Entry) { e.At, e.Unsolicited, e.From = mapped, false, ipv4(9, 9, 8, 8) }),
		}, Yes, false},
	} {
		s := New(Config{})
		s.ListensOn(own)
		s.MappedTo(1, mapped)
		s.Vote(ipv4(5, 5, 5, 5), 1, outside, now)
		for _, e := range c.entries {
			s.OnInbound(e, now)
		}
		v := s.Verdict(c.entries[0].At)
		if v.Answer() != c.want || v.Hopeful(now) != c.hope {
			t.Errorf("%s: %v, hope %v", c.name, v.Answer(), v.Hopeful(now))
		}
	}
}

// Three failures mean No, until a stranger connects that refutes them.
func TestStrangerRefutesFailures(t *testing.T) {
	start := time.Unix(1e9, 0)
	at := netip.MustParseAddrPort("8.8.8.8:1")
	s := New(Config{})
	s.ListensOn(at)
	fail := func(i byte, asked, now time.Time) bool {
		_, counts := s.DialFailed(at, wire.PeerID{i}, SiteOf(ipv4(9, i, 1, 1)), asked, now)
		return counts
	}
	for i := range byte(EnoughFailures) {
		if s.Answer(at) != Unknown || !fail(i, start, start) {
			t.Errorf("after %d: %v", i, s.Answer(at))
		}
	}
	if s.Answer(at) != No {
		t.Error("three are not believed")
	}
	later := start.Add(time.Minute)
	if changes, _ := s.OnInbound(Entry{From: ipv4(7, 7, 7, 7), At: at, Fresh: true, Unsolicited: true}, later); len(changes) != 1 || changes[0] != (Change{at, Yes, No}) {
		t.Errorf("a stranger changes %v", changes)
	}
	if fail(9, start, later.Add(time.Second)) || s.Verdict(at).Failures() != 0 {
		t.Error("who was asked before counts")
	}
	if s.Moved(later); fail(9, later.Add(-1), later.Add(time.Second)) || s.Verdict(at).Failures() != 0 {
		t.Error("who was asked where we have been counts")
	}
	s.OnInbound(Entry{From: ipv4(7, 7, 7, 7), At: at, Fresh: true, Unsolicited: true}, later)
	if !fail(9, later, later.Add(time.Second)) || s.Verdict(at).Failures() != 1 || s.Answer(at) != Yes {
		t.Error("who was asked since does not")
	}
}
