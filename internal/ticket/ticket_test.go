package ticket

import (
	"strings"
	"testing"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/wire"
)

func TestTicketText(t *testing.T) {
	id, relay := wire.PeerID{1, 2, 3}, wire.PeerID{4}
	addr := func(s string) ma.Multiaddr {
		m, err := ma.NewMultiaddr(s)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	public := addr("/ip4/192.0.2.1/udp/4774/quic-v1/p2p/" + id.String())
	through := addr("/ip4/192.0.2.9/udp/4774/quic-v1/p2p/" + relay.String() + "/p2p-circuit/p2p/" + id.String())
	loop := addr("/ip4/127.0.0.1/udp/4774/quic-v1/p2p/" + id.String())

	text := Ticket{id, []ma.Multiaddr{public, through, loop}}.String()
	want := id.String() + "@/ip4/192.0.2.1/udp/4774/quic-v1,/ip4/192.0.2.9/udp/4774/quic-v1/p2p/" + relay.String() + "/p2p-circuit"
	if text != want {
		t.Errorf("the ticket is %s\nwant %s", text, want)
	}
	back, err := Parse(text)
	if err != nil || back.ID != id || len(back.Addrs) != 2 || !back.Addrs[0].Equal(public) || !back.Addrs[1].Equal(through) {
		t.Errorf("it is read as %v, %v", back, err)
	}
	for _, a := range []ma.Multiaddr{public, through} {
		if got, err := Parse(a.String()); err != nil || got.ID != id || len(got.Addrs) != 1 || !got.Addrs[0].Equal(a) {
			t.Errorf("the address %s is read as %v, %v", a, got, err)
		}
	}
	if got, err := Parse(id.String()); err != nil || got.ID != id || got.Addrs != nil || got.String() != id.String() {
		t.Errorf("an ID is read as %v, %v", got, err)
	}
	if got := (Ticket{id, []ma.Multiaddr{loop}}).String(); !strings.Contains(got, "127.0.0.1") {
		t.Errorf("a node on loopback only has the ticket %s", got)
	}
	long := Ticket{ID: id}
	for range 20 {
		long.Addrs = append(long.Addrs, public)
	}
	if n := strings.Count(long.String(), "/ip4/"); n != MaxAddrs {
		t.Errorf("a ticket with %d addresses", n)
	}
	for _, bad := range []string{"", "@", "bob", "/", "/p2p/", text[:60], text[:100], "12D3KooW@/ip4/1.2.3.4", id.String() + "@", id.String() + "@x"} {
		if got, err := Parse(bad); err == nil {
			t.Errorf("%q is read as %v", bad, got)
		}
	}
}
