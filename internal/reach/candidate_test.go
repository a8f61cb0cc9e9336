package reach

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// For IPv4 and IPv6 separately, unreachable addresses are left out once others are known to be
// reachable, which come first.
func TestAddressesByVerdict(t *testing.T) {
	at := func(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }
	s := New(Config{})
	for _, a := range []string{"8.8.8.8:1", "9.9.9.9:1", "192.168.1.7:1", "[2600::1]:1", "[2600::2]:1"} {
		s.ListensOn(at(a))
	}
	got := func() (addrs []string) {
		for _, a := range s.Addrs(time.Now()) {
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
	via := func(i byte) netip.Prefix { return NetworkOf(ipv4(9, 0, i, 1)) }
	no := Verdict{}.failed(wire.PeerID{1}, via(1), now).failed(wire.PeerID{2}, via(2), now)
	no = no.failed(wire.PeerID{2}, via(3), now).failed(wire.PeerID{1}, via(3), now)
	if no.Answer() != Unknown {
		t.Error("two noes are enough, or two askers")
	}
	if late := no.failed(wire.PeerID{3}, via(3), now.Add(noLife+1)); late.Answer() != Unknown || late.Failures() != 1 {
		t.Errorf("old noes count: %+v", late)
	}
	no = no.failed(wire.PeerID{3}, via(3), now)
	want("unknown", "8.8.8.8:1", "9.9.9.9:1", "[2600::1]:1", "[2600::2]:1", "192.168.1.7:1")
	s.judgeLocked(at("8.8.8.8:1"), no)
	want("one fails", "8.8.8.8:1", "9.9.9.9:1", "[2600::1]:1", "[2600::2]:1", "192.168.1.7:1")
	s.judgeLocked(at("[2600::2]:1"), Verdict{yes: now})
	want("IPv6 works", "[2600::2]:1", "8.8.8.8:1", "9.9.9.9:1", "[2600::1]:1", "192.168.1.7:1")
	s.judgeLocked(at("9.9.9.9:1"), Verdict{yes: now})
	want("the other works", "9.9.9.9:1", "[2600::2]:1", "[2600::1]:1", "192.168.1.7:1")
}

// The peers of one network count once, however many they are.
func TestOneNetworkIsNotBelieved(t *testing.T) {
	var v Verdict
	now := time.Unix(1e9, 0)
	for i := range byte(10) {
		v = v.failed(wire.PeerID{9, i}, NetworkOf(ipv4(44, 1, 1, i)), now)
	}
	if v.Answer() != Unknown {
		t.Error("ten in one network are believed")
	}
}
