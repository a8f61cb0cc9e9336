package client

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/relay"
	"github.com/kadquic/kadquic/wire"
)

func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// uses checks which relay is in use for a peer.
func uses(t *testing.T, c *Client, peer wire.PeerID, want *fakeLink) {
	t.Helper()
	if got, ok := c.Route(peer); !ok || got != want.ID() {
		t.Errorf("the relay in use is %v, %v, want %v", got, ok, want.ID())
	}
}

func TestRoutesEndWithoutUse(t *testing.T) {
	testClient(t, func(t *testing.T, c *Client, h *fakeHost) {
		l := h.link(0, 1, grants)
		peer, friend := peerID(100), peerID(101)
		c.SetRoute(peer, l)
		c.SetRoute(friend, l)
		h.live[friend] = true
		c.Send(peer, []byte("x"))
		for range 3 {
			pass(time.Minute)
			c.Tend(time.Now())
		}
		if _, ok := c.Route(peer); ok {
			t.Error("a route outlives its time")
		}
		uses(t, c, friend, l)
		if len(h.pings) != 3 {
			t.Errorf("the relay of a connection is pinged %d times in three rounds", len(h.pings))
		}
		c.Send(peer, []byte("to no route"))
		if len(l.packets) != 1 {
			t.Errorf("%d packets are sent, want 1", len(l.packets))
		}
		l.Close()
		c.Tend(time.Now())
		if len(c.relays) != 0 {
			t.Error("the state of a link outlives it")
		}
	})
}

func TestRoutesOfConnectionsAreDroppedLast(t *testing.T) {
	testClient(t, func(t *testing.T, c *Client, h *fakeHost) {
		l := h.link(0, 1, grants)
		friend := peerID(1)
		c.SetRoute(friend, l)
		h.live[friend] = true
		c.Tend(time.Now())
		for i := range 2 * maxRoutes {
			pass(time.Millisecond)
			c.SetRoute(peerID(1000+i), l)
		}
		if len(c.routes) != maxRoutes {
			t.Errorf("%d routes, want %d", len(c.routes), maxRoutes)
		}
		uses(t, c, friend, l)
		uses(t, c, peerID(1000+2*maxRoutes-1), l)
		if _, ok := c.Route(peerID(1000)); ok {
			t.Error("the oldest route is not the first that is dropped")
		}
	})
}

// A relay that works stays in use when a call goes through another; one that does not
// work is replaced.
func TestWorkingRelayStaysInUse(t *testing.T) {
	testClient(t, func(t *testing.T, c *Client, h *fakeHost) {
		a, b := h.link(0, 1, grants), h.link(1, 2, grants)
		peer, unconfirmed := peerID(100), peerID(101)
		c.SetRoute(unconfirmed, a)
		c.HandleDatagram(a, relay.Datagram{Peer: unconfirmed, Content: []byte("x")})
		c.SetRoute(unconfirmed, b)
		uses(t, c, unconfirmed, b)

		c.SetRoute(peer, a)
		c.ConfirmRoute(peer, a)
		c.HandleDatagram(a, relay.Datagram{Peer: peer, Content: []byte("x")})
		c.SetRoute(peer, b)
		uses(t, c, peer, a)
		pass(2 * worksFor)
		c.SetRoute(peer, b)
		uses(t, c, peer, b)
		b.Close()
		uses(t, c, peer, a)
	})
}

// A route leaves a relay from which nothing came when it was checked, and returns when it is
// heard. With no other relay it stays.
func TestRouteLeavesARelayThatIsNotHeard(t *testing.T) {
	testClient(t, func(t *testing.T, c *Client, h *fakeHost) {
		a, b := h.link(0, 1, grants), h.link(1, 2, grants)
		peer := peerID(100)
		c.SetRoute(peer, b)
		c.SetRoute(peer, a)
		uses(t, c, peer, a)
		a.silence()
		if err := c.CheckRelay(a); err == nil {
			t.Error("a silent relay passes the check")
		}
		uses(t, c, peer, b)
		b.silence()
		c.CheckRelay(b)
		uses(t, c, peer, a)
		b.serveWith(grants)
		if err := c.CheckRelay(b); err != nil {
			t.Error(err)
		}
		uses(t, c, peer, b)
		c.HandleDatagram(a, relay.Datagram{Peer: peer, Content: []byte("x")})
		uses(t, c, peer, a)
		c.CheckRelay(a)
		uses(t, c, peer, b)
		c.ConfirmRoute(peer, a)
		uses(t, c, peer, a)
	})
}

// A relay that answers late, but from which other packets arrive, is slow and not dead.
func TestSlowRelayIsHeard(t *testing.T) {
	testClient(t, func(t *testing.T, c *Client, h *fakeHost) {
		l := h.link(0, 1, nil)
		l.serveWith(func(wire.Message) wire.Message {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.received++
			return nil
		})
		if err := c.CheckRelay(l); err != nil {
			t.Error(err)
		}
	})
}

func TestLinkToADeadRelayIsReplaced(t *testing.T) {
	testClient(t, func(t *testing.T, c *Client, h *fakeHost) {
		l := h.link(0, 1, grants)
		dials := 0
		h.redial = func(id wire.PeerID) *fakeLink {
			dials++
			return h.link(0, 1, grants)
		}
		l.silence()
		c.CheckRelay(l)
		if pass(time.Second); dials != 0 {
			t.Error("a link of a second is replaced: a handshake costs more than a PING")
		}
		pass(renewEvery)
		c.CheckRelay(l)
		c.CheckRelay(l)
		if pass(time.Second); dials != 1 {
			t.Errorf("%d dials, want 1", dials)
		}
		virtual := h.link(0, 1, refuses)
		virtual.virtual = true
		virtual.silence()
		pass(renewEvery)
		c.CheckRelay(virtual)
		if pass(time.Second); dials != 1 {
			t.Error("a connection through relays is replaced")
		}
	})
}

// All relays that a peer may use are checked, each at most once in checkEvery.
func TestCheckRelays(t *testing.T) {
	testClient(t, func(t *testing.T, c *Client, h *fakeHost) {
		s := h.servers(1, 2, 3)
		run(c)
		other := h.link(7, 7, grants)
		c.SetRoute(peerID(100), other)
		for range 10 {
			c.CheckRelays(peerID(100))
		}
		pass(checkEvery)
		for i, l := range append(s, other) {
			if n := l.count(wire.Ping{}); n != 1 {
				t.Errorf("relay %d is pinged %d times, want 1", i, n)
			}
		}
		c.CheckRelays(peerID(101))
		pass(checkEvery)
		if s[0].count(wire.Ping{}) != 2 || other.count(wire.Ping{}) != 1 {
			t.Error("the relay of another peer is pinged, or one of this node is not")
		}
	})
}

// A datagram that overtakes its call waits for the route for a second, if the relay holds a
// reservation of this node.
func TestEarlyDatagramsWaitForTheirCall(t *testing.T) {
	testClient(t, func(t *testing.T, c *Client, h *fakeHost) {
		s := h.servers(1, 2, 3)
		run(c)
		early := func(l *fakeLink, i int, what string) {
			c.HandleDatagram(l, relay.Datagram{Peer: peerID(i), Content: []byte(what)})
		}
		early(s[0], 100, "first")
		early(s[0], 101, "of another")
		stranger := h.link(9, 9, grants)
		early(stranger, 102, "through no relay of this node")
		c.SetRoute(peerID(100), s[0])
		c.SetRoute(peerID(102), stranger)
		if !slices.Equal(h.delivered, []string{"first"}) {
			t.Errorf("delivered %q", h.delivered)
		}
		pass(2 * earlyLife)
		c.SetRoute(peerID(101), s[0])
		if len(h.delivered) != 1 {
			t.Errorf("too old, and delivered: %q", h.delivered)
		}
		for range 3 * maxEarly {
			early(s[1], 103, "x")
		}
		if c.SetRoute(peerID(103), s[1]); len(h.delivered) != 1+maxEarly {
			t.Errorf("%d of many early datagrams are kept, want %d", len(h.delivered)-1, maxEarly)
		}
		early(s[0], 104, "x")
		c.releaseAll()
		pass(2 * roundTrip)
		if c.SetRoute(peerID(104), s[0]); len(h.delivered) != 1+maxEarly {
			t.Error("a datagram outlives the reservation")
		}
		early(s[2], 100, "through a relay that is no route")
		if len(h.delivered) != 1+maxEarly {
			t.Error("a packet through another relay is delivered")
		}
	})
}

func TestLongPacketsGoInPartsAndCreditIsCounted(t *testing.T) {
	testClient(t, func(t *testing.T, c *Client, h *fakeHost) {
		l := h.link(0, 1, grants)
		peer := peerID(100)
		c.SetRoute(peer, l)
		packet := bytes.Repeat([]byte("x"), 1300)
		c.Send(peer, packet)
		c.SendCredit(peer, 1000)
		c.SendCredit(peerID(101), 1000) // no route
		if len(l.packets) != 3 || l.packets[2].Kind != relay.Credit || len(l.packets[2].Content) != 1000-relay.HeaderLen {
			t.Fatalf("%d datagrams are sent, want two parts and the credit", len(l.packets))
		}
		for _, d := range l.packets { // back from the relay
			c.HandleDatagram(l, d)
		}
		if !slices.Equal(h.delivered, []string{strings.Repeat("x", 1300)}) || h.credit != 1000 {
			t.Errorf("%d packets are delivered, credit %d", len(h.delivered), h.credit)
		}
	})
}
