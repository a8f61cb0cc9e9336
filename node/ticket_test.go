package node

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/wire"
)

// Of what a ticket of a node in simulated networks is expected to name, and how soon.
const (
	ticketRelays = 2
	ticketWait   = 8 * time.Second
)

// A reachable node has a ticket at once. An unreachable one has a ticket when it can name a relay,
// through which alone peers reach it.
func TestTicketNamesARelay(t *testing.T) {
	inSwarm(t, 8, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
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
			if _, err := alice.AddAddr(a); err != nil {
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

// relaysIn returns the relays that a ticket names, each once.
func relaysIn(t Ticket) (relays []wire.PeerID) {
	for _, a := range t.Addrs {
		if c, err := wire.ParseCircuit(a); err == nil && !slices.Contains(relays, c.Relay) {
			relays = append(relays, c.Relay)
		}
	}
	return relays
}

// The ticket of a node behind a NAT, or behind a firewall that admits only replies, names two relays. A
// node that strangers reach, and one without peers to ask, does not wait for relays.
func TestTicketBehindAFirewall(t *testing.T) {
	for name, c := range map[string]struct {
		filter lets
		nat    bool
		relays int
		within time.Duration
	}{
		"a firewall that is open":             {letsAnybody, false, 0, 2 * time.Second},
		"a firewall that lets replies in":     {letsPorts, false, ticketRelays, 6 * time.Second},
		"a firewall that lets known hosts in": {letsAddresses, false, 0, ticketWait - 1},
		"a NAT":                               {letsPorts, true, ticketRelays, 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inAskingSwarm(t, 6, simnet.Options{Delay: 40 * time.Millisecond}, func(t *testing.T, a *askers) {
				time.Sleep(time.Minute)
				began := time.Now()
				var n *Node
				if c.nat {
					n, _ = a.behind(Config{}, c.filter, false)
				} else {
					n, _ = a.firewalled(Config{}, c.filter)
				}
				ticket := n.Ticket(t.Context())
				took := time.Since(began)
				t.Logf("after %v: %v", took, ticket.Addrs)
				relays := relaysIn(ticket)
				if len(relays) != c.relays || took > c.within {
					t.Errorf("after %v it names %d relays, want %d within %v", took, len(relays), c.relays, c.within)
				}
				if c.relays > 0 && len(ticket.Addrs) <= len(relays) {
					t.Errorf("it says nothing but relays: %v", ticket.Addrs)
				}
			})
		})
	}
	t.Run("alone", func(t *testing.T) {
		inAskingSwarm(t, 1, simnet.Options{}, func(t *testing.T, a *askers) {
			began := time.Now()
			if a.nodes[0].Ticket(t.Context()); time.Since(began) > 0 {
				t.Errorf("a node that knows nobody waits %v for its ticket", time.Since(began))
			}
		})
	})
}

// One of the two relays that a ticket names has died: the ticket is as good as before.
func TestTicketOutlivesARelay(t *testing.T) {
	for dead := range ticketRelays {
		t.Run(fmt.Sprint(dead), func(t *testing.T) {
			inSwarm(t, 8, simnet.Options{Delay: 40 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
				bob := s.add(Config{Mode: ModeClient})
				echoes(t, bob)
				ticket, err := ParseTicket(bob.Ticket(t.Context()).String())
				relays := relaysIn(ticket)
				if err != nil || len(relays) != ticketRelays {
					t.Fatalf("it names %d relays: %v, %v", len(relays), ticket, err)
				}
				for i, n := range s.nodes {
					if n.ID() == relays[dead] {
						s.kill(i)
					}
				}
				alice := s.make(Config{Mode: ModeClient, Bootstrap: []ma.Multiaddr{}}) // alone: the ticket is all that it knows
				if err := alice.Start(t.Context()); err != nil {
					t.Fatal(err)
				}
				for _, a := range ticket.Addrs {
					if wire.IsCircuit(a) {
						alice.AddAddr(a)
					}
				}
				began := time.Now()
				c, err := alice.Dial(within(t, time.Minute), ticket.ID, echoTest)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				said(t, c, "hello")
				if took := time.Since(began); took > 1200*time.Millisecond {
					t.Errorf("relay %d is dead: connected after %v", dead, took)
				}
			})
		})
	}
}

// A relay is named by addresses of both families, and the two are of different networks.
// Room is kept for them, however many addresses the node has itself.
func TestTicketCoversNetworksAndFamilies(t *testing.T) {
	inSwarm(t, 8, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		bob := s.add(Config{Mode: ModeClient})
		echoes(t, bob)
		awaitThat(t, "bob has reservations", func() bool { return len(bob.Relays()) == wantRelays })
		for i := range 12 {
			bob.self.ListensOn(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i), 1}), 4774))
		}
		for i, n := range s.nodes { // each has an IPv6 address, as its record says
			at := wire.AddrFrom(netip.MustParseAddrPort(fmt.Sprintf("[2600:%d::1]:4774", i+1)))
			value, err := wire.PeerInfo{Mode: wire.ModeServer, Addrs: []wire.Addr{at}}.Value()
			if err != nil {
				t.Fatal(err)
			}
			now := time.Now()
			r, err := wire.Sign(wire.Record{Kind: wire.KindPeer, Key: n.ID().Key(), Seq: uint64(now.Add(time.Minute).UnixMilli()),
				Expiry: now.Add(time.Hour), Value: value}, testKey(i))
			if err != nil || n != bob && !bob.peers.SetRecord(n.ID(), r) {
				t.Fatal(err)
			}
		}
		ticket, err := ParseTicket(bob.Ticket(t.Context()).String())
		if err != nil {
			t.Fatal(err)
		}
		families, networks, own := map[wire.PeerID]map[bool]bool{}, map[netip.Prefix]bool{}, 0
		for _, a := range ticket.Addrs {
			c, err := wire.ParseCircuit(a)
			if err != nil {
				own++
				continue
			}
			if families[c.Relay] == nil {
				families[c.Relay] = map[bool]bool{}
			}
			families[c.Relay][ipOf(c.Addr).Is4()] = true
			networks[reach.NetworkOf(ipOf(c.Addr))] = true
		}
		if len(families) != ticketRelays || len(networks) != 2*ticketRelays || own == 0 {
			t.Errorf("%d relays, %d of their networks, %d own addresses: %v", len(families), len(networks), own, ticket)
		}
		for relay, has := range families {
			if !has[true] || !has[false] {
				t.Errorf("relay %v is named by one family only: %v", relay, ticket)
			}
		}
	})
}

// A program that shows its ticket shows a better one when there is one, or when what it
// said is no longer so, and no other.
func TestTicketsGetBetter(t *testing.T) {
	inSwarm(t, 1, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		bob := s.add(Config{Mode: ModeClient})
		echoes(t, bob)
		var mu sync.Mutex
		var shown []Ticket
		go func() {
			for ticket := range bob.Tickets(t.Context()) {
				mu.Lock()
				shown = append(shown, ticket)
				mu.Unlock()
			}
		}()
		await := func(what string, number, relays int) {
			t.Helper()
			time.Sleep(2 * time.Minute)
			mu.Lock()
			defer mu.Unlock()
			if len(shown) != number || len(relaysIn(shown[number-1])) != relays {
				t.Fatalf("%s: shown are %v; want %d, the last with %d relays", what, shown, number, relays)
			}
		}
		await("one relay", 1, 1)
		s.add(Config{})
		await("two relays", 2, 2)
		s.add(Config{})
		s.add(Config{})
		await("more relays", 2, 2)
		named := relaysIn(shown[1])
		for i, n := range s.nodes {
			if n != bob && i > 0 && slices.Contains(named, n.ID()) {
				s.kill(i)
			}
		}
		await("one of them has died", 2, 2)
	})
}
