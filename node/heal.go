package node

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

// What heals a conversation. Its path breaks when a NAT forgets or a host moves, on
// either side. QUIC's packets go by relay as well once the path has been quiet for
// half a second; what is left to do is that the relay still finds us, for which
// anything sent there will do (poke), and that a new path is made, by a new call. Both
// sides do so, since only one of them may have relays, or know that it has moved.
//
//	path silent for 0.3 s      ask on the path; no answer in 1½ round trips: check the relays
//	path quiet                 call at once, then after 1, 2, 4, … 15 s
//	our own address changes    call at once: it is asked for every half second
//	path relayed               call after 5 round trips, 1, 2, 5, 15, 60, 60, … s
//	relay silent               call through another relay, connect to this one again
//
// The side that listens only does not notice that its NAT has forgotten it: hence the
// first line. To check a relay is to tell it our address, and until that is done nothing
// comes from it (checkRelays).
//
// All of that only while streams are open and for 10 s more, and in the first seconds. What is promised: when a relay dies under a
// conversation whose peer has another, a connection lives on, with a gap of up to 5
// seconds. If the peer has none, the connection ends when QUIC gives it up.
type heal struct {
	calling int       // calls under way
	next    time.Time // call, at the earliest; zero: none is planned
	tries   int       // since there was a good path
	straint time.Time // no call before that: not even in an emergency
	urgent  bool      // the next call does not wait for those under way: they may wait for who is gone

	local   netip.Addr // ours, on the way to the relay
	looked  time.Time  // when that was asked
	talked  bool       // streams were open when last looked
	pinging bool       // the relay is being asked whether it is there
	pinged  time.Time
	poked   time.Time   // for the sake of which check of the path the relay was sent something
	bad     wire.PeerID // a relay that did not answer
}

const (
	lookEvery   = 500 * time.Millisecond // for an address of ours that has changed
	relayEvery  = time.Second            // to ask a relay that a conversation depends on
	relayAnswer = time.Second            // within which it has to answer, at the most
	minBetween  = time.Second            // calls
	maxUrgent   = 3                      // calls under way
)

// directAfter are the pauses between calls while the path is relayed; the last repeats.
var directAfter = []time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 15 * time.Second, time.Minute}

// lost notes that the path has just been lost.
func (h *heal) lost(now time.Time) { h.next, h.tries = now, 0 }

// stepHeal does what is due and returns when to be called again.
func (g *agent) stepHeal(now time.Time, conn, talking bool) time.Time {
	h := &g.heal
	if !conn || !talking {
		h.talked, h.next = false, time.Time{}
		return time.Time{}
	}
	at, _ := g.t.PathTo(publicKey(g.id))
	broken := at.Quiet || g.path != nil && g.path.state.Quiet
	relayed := at.Kind == quic.Relayed
	switch {
	case !h.talked: // a conversation begins
		h.talked, h.tries, h.local, h.looked = true, 0, netip.Addr{}, time.Time{}
		h.next = now.Add(g.firstPause())
	case !relayed && !broken:
		h.next, h.tries = time.Time{}, 0
	case h.next.IsZero() && broken:
		h.next = now
	case h.next.IsZero():
		h.next = now.Add(directAfter[0])
	}
	if now.Sub(h.looked) >= lookEvery {
		h.looked = now
		if g.hasMoved() {
			h.next, h.tries, h.urgent = now, 0, true
			if g.path != nil {
				g.path.s.Check(now)
			}
			g.n.checkRelays(g.id)
		}
	}
	if relayed || broken {
		g.askRelay(now)
	}
	if !h.next.IsZero() && !now.Before(h.next) && g.searching() && !broken { // one thing after the other
		h.next = now.Add(directAfter[0])
	}
	if !h.next.IsZero() && !now.Before(h.next) && (h.calling == 0 || h.urgent && h.calling < maxUrgent) && !now.Before(h.straint) {
		h.urgent = false
		pause := directAfter[min(h.tries, len(directAfter)-1)]
		if broken {
			pause = min(time.Second<<min(h.tries, 4), 15*time.Second)
		}
		h.tries++
		h.next, h.straint = now.Add(pause), now.Add(minBetween)
		g.n.checkRelays(g.id)
		g.callAgain()
	}
	next := h.looked.Add(lookEvery)
	if h.next.After(now) && h.next.Before(next) {
		next = h.next
	}
	return next
}

// firstPause is how long a call has to find a path before another is made, by a new
// socket: twice what it needs at most, 2½ round trips if all are as long as that to the
// relay.
func (g *agent) firstPause() time.Duration {
	relay, _ := g.n.relayOf(g.id)
	c, ok := g.n.pool.Lookup(publicKey(relay))
	if !ok {
		return directAfter[0]
	}
	return min(max(5*c.Stats().SmoothedRTT, 200*time.Millisecond), directAfter[0])
}

// hasMoved reports whether this machine now sends to the relay from another address
// than when last asked.
func (g *agent) hasMoved() bool {
	if !g.n.onMachine {
		return false
	}
	to := g.relayAddr()
	if !to.IsValid() {
		return false
	}
	local, ok := localFor(to)
	h := &g.heal
	moved := ok && h.local.IsValid() && local != h.local
	if ok {
		h.local = local
	}
	return moved
}

// relayAddr is where the relay of the conversation is.
func (g *agent) relayAddr() netip.AddrPort {
	relay, ok := g.n.relayOf(g.id)
	if !ok {
		return netip.AddrPort{}
	}
	c, ok := g.n.pool.Lookup(publicKey(relay))
	if !ok || c.Virtual() {
		return netip.AddrPort{}
	}
	return c.RemoteAddr()
}

// localFor is the address from which this machine sends to another. To connect a UDP
// socket sends nothing.
func localFor(to netip.AddrPort) (netip.Addr, bool) {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return netip.Addr{}, false
	}
	defer c.Close()
	at, ok := c.LocalAddr().(*net.UDPAddr)
	if !ok {
		return netip.Addr{}, false
	}
	return at.AddrPort().Addr().Unmap(), true
}

// askRelay asks the relay that the conversation depends on whether it is there. If it
// is not, the peer is called through another.
func (g *agent) askRelay(now time.Time) {
	h := &g.heal
	if h.pinging || now.Sub(h.pinged) < relayEvery {
		return
	}
	h.pinged = now
	relay, ok := g.n.relayOf(g.id)
	if !ok {
		h.next = now
		return
	}
	c, ok := g.n.pool.Lookup(publicKey(relay))
	if !ok {
		h.bad, h.next = relay, now
		return
	}
	l := c.Value.(*link)
	if !l.isUp() {
		return
	}
	h.pinging = g.n.spawn(func() {
		err := g.n.checkLink(l)
		g.tell(func(now time.Time) {
			h.pinging = false
			if err == nil {
				if h.bad == relay {
					h.bad = wire.PeerID{}
				}
				return
			}
			h.bad = relay
			h.next, h.straint, h.urgent = now, now, true
		})
	})
}

// callAgain calls the peer through its relays, the one last heard of first.
func (g *agent) callAgain() {
	relays := g.n.callRelays(g.id, g.heal.bad)
	if len(relays) == 0 {
		return
	}
	g.heal.calling++
	started := g.n.spawn(func() {
		ctx, cancel := context.WithTimeout(g.n.ctx, 5*time.Second)
		defer cancel()
		for _, relay := range relays[:min(len(relays), maxCallRelays)] {
			if g.n.callAfresh(ctx, g.id, relay) == nil {
				break
			}
		}
		g.tell(func(time.Time) { g.heal.calling-- })
	})
	if !started {
		g.heal.calling--
	}
}
