package reach

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/kadquic/kadquic/wire"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func iface(prefix string) Interface { return Interface{Prefix: netip.MustParsePrefix(prefix)} }

// dockerHost is a machine with a LAN, a tunnel, and many container bridges, whose addresses sort
// before the LAN's. Some have several IPv6 addresses.
func dockerHost() (all []Interface) {
	all = append(all, iface("127.0.0.1/8"), iface("10.8.0.2/24"))
	for i := range 12 {
		bridge := iface(fmt.Sprintf("172.%d.0.1/16", 17+i))
		bridge.Virtual = true
		all = append(all, bridge)
	}
	lan := iface("192.168.7.1/24")
	lan.Default = true
	all = append(all, lan)
	for i := range 9 {
		all = append(all, iface(fmt.Sprintf("2001:db9::%d/64", i+1)))
	}
	return all
}

func listening(machine []Interface) *Self {
	s := New(Config{Machine: func() []Interface { return machine }})
	s.ListensOn(netip.MustParseAddrPort("[::]:4774"))
	return s
}

// A list with room for a few addresses has those that others use, whatever their number
// and however many bridges there are.
func TestAddrsNameTheLAN(t *testing.T) {
	s := listening(dockerHost())
	addrs := s.Addrs(noon)
	lan := wire.AddrFrom(netip.MustParseAddrPort("192.168.7.1:4774"))
	if len(addrs) != wire.MaxAddrs || !slices.Contains(addrs, lan) {
		t.Errorf("told are %v, want %d, and the LAN's among them", addrs, wire.MaxAddrs)
	}
	private := slices.DeleteFunc(s.Candidates(noon), func(p Candidate) bool { return p.scope() != ScopePrivate })
	var order []string
	for _, p := range private[:3] {
		order = append(order, p.At.Addr().String())
	}
	if want := []string{"192.168.7.1", "10.8.0.2", "172.17.0.1"}; !slices.Equal(order, want) {
		t.Errorf("private addresses begin %v, want %v", order, want)
	}
	// A container sees the node at a bridge: that address comes before unused ones.
	s.Vote(netip.MustParseAddr("172.21.0.9"), 4774, netip.MustParseAddrPort("172.21.0.1:4774"), noon)
	i := slices.IndexFunc(s.Candidates(noon), func(p Candidate) bool { return p.scope() == ScopePrivate })
	if at := s.Candidates(noon)[i+1].At.Addr().String(); at != "172.21.0.1" {
		t.Errorf("behind the LAN's address comes %s, want the one that a peer has confirmed", at)
	}
}

func TestCover(t *testing.T) {
	var all []netip.Addr
	for i := range 9 {
		all = append(all, netip.MustParseAddr(fmt.Sprintf("2001:db9::%d", i+1)))
	}
	private := netip.MustParseAddr("192.168.7.1")
	public := netip.MustParseAddr("25.0.0.1")
	all = append(all, private, netip.MustParseAddr("10.0.0.1"), public)
	at := func(a netip.Addr) netip.Addr { return a }
	for n := range 20 {
		got := Cover(all, n, at)
		if len(got) != len(all) {
			t.Fatalf("n %d: %d addresses of %d", n, len(got), len(all))
		}
		first := got[:min(n, len(got))]
		if n >= 3 && (!slices.Contains(first, private) || !slices.Contains(first, public) || !slices.Contains(first, all[0])) {
			t.Errorf("n %d: %v", n, first)
		}
		if !slices.IsSortedFunc(first, func(a, b netip.Addr) int { return slices.Index(all, a) - slices.Index(all, b) }) {
			t.Errorf("n %d: the order has changed: %v", n, first)
		}
	}
}

// Of a peer's addresses, that on our own LAN is tried first, and those that are our own
// bridges last.
func TestRank(t *testing.T) {
	s := listening(dockerHost())
	s.Addrs(noon) // which asks the machine
	var all []netip.Addr
	for _, a := range []string{
		"172.18.0.1", "172.17.0.5", "127.0.0.1", "192.168.99.3", "10.8.0.9", "25.1.2.3", "2001:db9:5::1", "192.168.7.2",
	} {
		all = append(all, netip.MustParseAddr(a))
	}
	slices.SortStableFunc(all, s.Rank)
	want := "[192.168.7.2 25.1.2.3 2001:db9:5::1 10.8.0.9 192.168.99.3 172.17.0.5 127.0.0.1 172.18.0.1]"
	if got := fmt.Sprint(all); got != want {
		t.Errorf("order %s\nwant  %s", got, want)
	}
	four := listening([]Interface{iface("192.168.1.5/24")})
	four.Addrs(noon)
	if four.Rank(netip.MustParseAddr("2001:db9::1"), netip.MustParseAddr("25.0.0.1")) <= 0 {
		t.Error("an IPv6 address comes first on a machine without IPv6")
	}
}
