package node

import (
	"context"
	"strings"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/internal/simnet"
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
	back, err := ParseTicket(text)
	if err != nil || back.ID != id || len(back.Addrs) != 2 || !back.Addrs[0].Equal(public) || !back.Addrs[1].Equal(through) {
		t.Errorf("it is read as %v, %v", back, err)
	}
	for _, a := range []ma.Multiaddr{public, through} {
		if got, err := ParseTicket(a.String()); err != nil || got.ID != id || len(got.Addrs) != 1 || !got.Addrs[0].Equal(a) {
			t.Errorf("the address %s is read as %v, %v", a, got, err)
		}
	}
	if got, err := ParseTicket(id.String()); err != nil || got.ID != id || got.Addrs != nil || got.String() != id.String() {
		t.Errorf("an ID is read as %v, %v", got, err)
	}
	if got := (Ticket{id, []ma.Multiaddr{loop}}).String(); !strings.Contains(got, "127.0.0.1") {
		t.Errorf("a node on loopback only has the ticket %s", got)
	}
	long := Ticket{ID: id}
	for range 20 {
		long.Addrs = append(long.Addrs, public)
	}
	if n := strings.Count(long.String(), "/ip4/"); n != maxTicketAddrs {
		t.Errorf("a ticket with %d addresses", n)
	}
	for _, bad := range []string{"", "@", "bob", "/", "/p2p/", text[:60], text[:100], "12D3KooW@/ip4/1.2.3.4", id.String() + "@", id.String() + "@x"} {
		if got, err := ParseTicket(bad); err == nil {
			t.Errorf("%q is read as %v", bad, got)
		}
	}
}

// Who is reached without a relay has a ticket at once; who is not has one when there
// is a relay in it, with which alone others reach it.
func TestTicketNamesARelay(t *testing.T) {
	inSwarm(t, 8, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *swarm) {
		began := time.Now()
		server := s.nodes[3]
		if got := server.Ticket(t.Context()); time.Since(began) > 0 || got.ID != server.ID() || len(got.Addrs) == 0 {
			t.Errorf("a server's ticket is %v, after %v", got, time.Since(began))
		}
		bob := s.add(Config{Mode: ModeClient})
		if _, err := bob.Listen("/test"); err != nil {
			t.Fatal(err)
		}
		over, cancel := context.WithCancel(t.Context())
		cancel()
		if got := bob.Ticket(over); len(bob.Relays()) > 0 || got.ID != bob.ID() {
			t.Errorf("without time, the ticket is %v", got)
		}
		ticket, err := ParseTicket(bob.Ticket(t.Context()).String())
		if err != nil || len(ticket.Addrs) == 0 {
			t.Fatalf("%v, %v", ticket, err)
		}
		last := ticket.Addrs[len(ticket.Addrs)-1]
		if c, err := wire.ParseCircuit(last); err != nil || c.Peer != bob.ID() {
			t.Errorf("the last address is %v: %v", last, err)
		}
		alice := s.make(Config{Bootstrap: []ma.Multiaddr{}}) // alone: the ticket is all that it knows
		if err := alice.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, a := range ticket.Addrs {
			if !wire.IsCircuit(a) {
				continue
			}
			if _, err := alice.Learn(a); err != nil {
				t.Error(err)
			}
		}
		c, err := alice.Dial(within(t, time.Minute), ticket.ID, "/test")
		if err != nil {
			t.Fatal(err)
		}
		c.Close()

		lonely := s.add(Config{Mode: ModeClient}) // no relay will be found
		if _, err := lonely.Listen("/test"); err != nil {
			t.Fatal(err)
		}
		lonely.Close()
		began = time.Now()
		if lonely.Ticket(t.Context()); time.Since(began) > 0 {
			t.Errorf("a node that is closed waits %v for a ticket", time.Since(began))
		}
	})
}
