package client

import (
	"testing"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// run starts Run and returns once it has had a round.
func run(c *Client) {
	c.Background.Go(func() { c.Run(c.Background.Context()) })
	pass(2 * time.Second)
}

func TestReservationsAreAtTheNearestServersInDifferentNetworks(t *testing.T) {
	testClient(t, func(t *testing.T, c *Client, h *fakeHost) {
		s := h.servers(1, 1, 2, 3, 4)
		s[2].serveWith(refuses)
		run(c)
		wantRelays(t, c, s[0], s[3], s[4])
		if h.changes != 3 {
			t.Errorf("%d changes are told, want 3", h.changes)
		}
		for _, r := range c.Reservations() {
			if r.RTT != roundTrip || time.Until(r.Expires) < 59*time.Minute || r.Addr == "" {
				t.Errorf("reservation %+v", r)
			}
		}
		pass(time.Hour)
		wantRelays(t, c, s[0], s[3], s[4])
		if n := s[0].count(wire.Reserve{}); n < 239 || n > 241 {
			t.Errorf("renewed %d times an hour, want 240", n)
		}
		if !s[0].isHeld() || s[1].isHeld() || !s[0].reading {
			t.Error("a reservation holds its connection, and no other")
		}
	})
}

func TestTwoRelaysOfOneNetworkAreEnough(t *testing.T) {
	testClient(t, func(t *testing.T, c *Client, h *fakeHost) {
		s := h.servers(1, 1, 1, 1)
		run(c)
		pass(time.Minute)
		wantRelays(t, c, s[0], s[1])
	})
}

func TestReservationsAreReleasedWhenUnwanted(t *testing.T) {
	testClient(t, func(t *testing.T, c *Client, h *fakeHost) {
		s := h.servers(1, 2, 3)
		run(c)
		wantRelays(t, c, s...)
		h.locked(func() { h.wants = false })
		pass(2 * time.Second)
		wantRelays(t, c)
		for _, l := range s {
			if l.count(wire.Reserve{Release: true}) != 1 || l.isHeld() {
				t.Error("the relay is not told, or its connection is held")
			}
		}
	})
}

func TestRelayThatLeavesIsReplacedAtOnce(t *testing.T) {
	testClient(t, func(t *testing.T, c *Client, h *fakeHost) {
		s := h.servers(1, 2, 3, 4)
		run(c)
		wantRelays(t, c, s[:3]...)
		s[1].Close()
		pass(100 * time.Millisecond)
		wantRelays(t, c, s[0], s[2], s[3])
	})
}

// Silence of one relay ends its reservation. Silence of all is a fault of this node's network.
func TestSilentRelayIsGivenUpIfAnotherAnswers(t *testing.T) {
	testClient(t, func(t *testing.T, c *Client, h *fakeHost) {
		s := h.servers(1, 2, 3)
		run(c)
		for _, l := range s {
			l.silence()
		}
		pass(2 * time.Minute)
		wantRelays(t, c, s...)
		s[0].serveWith(grants)
		s[1].serveWith(grants)
		pass(time.Minute)
		wantRelays(t, c, s[:2]...)
	})
}

func TestSilentPeersAreAskedAgainBeforeThoseThatRefuse(t *testing.T) {
	testClient(t, func(t *testing.T, c *Client, h *fakeHost) {
		s := h.servers(1, 2, 3)
		s[1].silence()
		s[2].serveWith(refuses)
		run(c)
		pass(5 * time.Second)
		s[1].serveWith(grants)
		s[2].serveWith(grants)
		pass(2 * time.Minute)
		wantRelays(t, c, s[:2]...)
		pass(10 * time.Minute)
		wantRelays(t, c, s...)
	})
}

func TestUnsuitableRelaysAreNotAsked(t *testing.T) {
	testClient(t, func(t *testing.T, c *Client, h *fakeHost) {
		s := h.servers(1, 2, 3)
		s[0].max = 0                             // takes no datagrams
		s[1].addr = addrPort("192.168.1.1:4774") // not public
		s[2].serveWith(func(wire.Message) wire.Message { return wire.Reserved{Lifetime: time.Second} })
		run(c)
		wantRelays(t, c)
		if s[0].count(wire.Reserve{})+s[1].count(wire.Reserve{}) != 0 {
			t.Error("a peer that cannot relay is asked")
		}
	})
}

// A second link to a relay takes the reservation over, with the routes. The first is not
// released at the relay, which would end the reservation of the second.
func TestReservationMigratesToANewLink(t *testing.T) {
	testClient(t, func(t *testing.T, c *Client, h *fakeHost) {
		first := h.servers(1, 2, 3)[0]
		run(c)
		before := c.Reservations()[0]
		peer := peerID(100)
		c.SetRoute(peer, first)
		pass(time.Second)
		second := h.link(0, 1, grants)
		c.MigrateReservation(second)
		c.MigrateReservation(second)
		pass(time.Second)
		if after := c.Reservations()[0]; after.Relay != before.Relay || !after.Since.Equal(before.Since) || !after.Expires.After(before.Expires) {
			t.Errorf("reservation %+v, was %+v", after, before)
		}
		if second.count(wire.Reserve{}) != 1 || first.count(wire.Reserve{Release: true}) != 0 || first.isHeld() || !second.isHeld() {
			t.Error("the reservation is renewed at once on the new link, and the old one may end")
		}
		c.Send(peer, []byte("x"))
		if len(first.packets) != 0 || len(second.packets) != 1 {
			t.Error("packets of a route follow the reservation")
		}
		first.Close()
		pass(time.Minute)
		if len(c.Reservations()) != Wanted {
			t.Error("the reservation ended with the old link")
		}
		unused := h.link(0, 1, grants)
		h.links[unused.ID()] = second
		c.MigrateReservation(unused)
		if pass(time.Second); unused.count(wire.Reserve{}) != 0 {
			t.Error("a reservation migrates to a link that is not in use")
		}
		virtual := h.link(0, 1, grants)
		virtual.virtual = true
		c.MigrateReservation(virtual)
		if pass(time.Second); virtual.count(wire.Reserve{}) != 0 {
			t.Error("a reservation migrates to a connection through relays")
		}
	})
}

// If no relay answers, a relay may send to an old address of this node: it gets another
// connection, to which the reservation migrates.
func TestLinkIsReplacedIfNoRelayAnswers(t *testing.T) {
	testClient(t, func(t *testing.T, c *Client, h *fakeHost) {
		first := h.servers(1)[0]
		run(c)
		var again *fakeLink
		h.redial = func(id wire.PeerID) *fakeLink {
			again = h.link(0, 1, grants)
			return again
		}
		pass(pulse)
		first.silence()
		pass(pulse + 10*time.Second)
		wantRelays(t, c, first)
		if again == nil || !again.isHeld() || first.isHeld() {
			t.Error("the reservation stays on the link that does not answer")
		}
	})
}

// Without any reservation a node asks again soon, even peers that have refused.
func TestLonelyNodeAsksAgainSoon(t *testing.T) {
	testClient(t, func(t *testing.T, c *Client, h *fakeHost) {
		s := h.servers(1)
		s[0].serveWith(refuses)
		run(c)
		s[0].serveWith(grants)
		pass(aloneLife + maxWait)
		wantRelays(t, c, s...)
	})
}

// The network of a server may become known only when this node connects to it.
func TestNetworkOfARelayIsCheckedOnceConnected(t *testing.T) {
	testClient(t, func(t *testing.T, c *Client, h *fakeHost) {
		s := h.servers(1, 1, 2, 3)
		s[1].ref.SetAddrs(nil)
		run(c)
		wantRelays(t, c, s[0], s[2], s[3])
	})
}

func TestReservationLeavesAStalledLink(t *testing.T) {
	testClient(t, func(t *testing.T, c *Client, h *fakeHost) {
		first := h.servers(1, 2, 3)[0]
		run(c)
		var second *fakeLink
		h.redial = func(wire.PeerID) *fakeLink {
			second = h.link(0, 1, grants)
			return second
		}
		first.mu.Lock()
		first.stalled = true
		first.mu.Unlock()
		pass(pulse + time.Second)
		if second == nil || c.Relays()[0] != first.ID() || !second.isHeld() || first.isHeld() {
			t.Error("the reservation stays on a link that streams block")
		}
	})
}
