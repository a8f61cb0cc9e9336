package reach

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// The subjects are the public addresses, and SeenBy where no two networks agree on one.
func TestSubjects(t *testing.T) {
	now := time.Unix(1e9, 0)
	s := New(Config{})
	s.ListensOn(netip.MustParseAddrPort("192.168.1.7:4774"))
	want := func(when string, subjects ...netip.AddrPort) {
		t.Helper()
		if got := s.Subjects(now); !slices.Equal(got, subjects) {
			t.Errorf("%s: %v, want %v", when, got, subjects)
		}
	}
	want("at first")
	outside := netip.MustParseAddrPort("8.8.8.8:1")
	s.Vote(ipv4(9, 9, 1, 1), 4774, outside, now)
	want("one has said", SeenBy(true))
	s.Vote(ipv4(9, 9, 2, 1), 4774, outside, now)
	want("two have said", outside)
	mapped := netip.MustParseAddrPort("8.8.8.8:2")
	s.MappedTo(4774, mapped)
	want("the router lets in", outside, mapped)
	if got := s.Untried(now); len(got) != 2 {
		t.Errorf("untried: %v", got)
	}
}

// The first peers to ask are those whose report is new; then, in a hurry, those that were not
// asked yet, otherwise those that were sent something, so that the others become strangers.
func TestOrderOfAskedPeers(t *testing.T) {
	now := time.Unix(1e9, 0)
	at := netip.MustParseAddrPort("8.8.8.8:1")
	s := New(Config{})
	s.ListensOn(at)
	s.DialFailed(at, wire.PeerID{99}, SiteOf(ipv4(9, 9, 1, 1)), now, now)
	s.MarkContacted(netip.AddrPortFrom(ipv4(9, 9, 3, 1), 1), now)
	all := []Answerer{
		{ID: wire.PeerID{1}, At: ipv4(9, 9, 1, 1), Connected: true}, // of whose network one has said no
		{ID: wire.PeerID{2}, At: ipv4(9, 9, 2, 1), Connected: true, Again: true},
		{ID: wire.PeerID{3}, At: ipv4(9, 9, 3, 1)},
		{ID: wire.PeerID{4}, At: ipv4(9, 9, 4, 1), Connected: true},
		{ID: wire.PeerID{5}, At: ipv4(9, 9, 4, 2)}, // of the same network
	}
	for hurry, want := range map[bool][]wire.PeerID{true: {{4}, {3}, {2}, {1}}, false: {{3}, {2}, {4}, {1}}} {
		if got := s.Answerers(at, hurry, all, now); !slices.Equal(got, want) {
			t.Errorf("hurry %v: %v, want %v", hurry, got, want)
		}
	}
}
