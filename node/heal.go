package node

import (
	"context"
	"errors"
	"math/rand/v2"
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
//	path quiet                 call at once, then after 1, 2, 4, … 30 s
//	our own address changes    call at once: it is asked for every half second
//	path relayed               call after 5 round trips, 1, 2, 5, 15, 60, 60, … s
//	relay silent               call through another relay, connect to this one again
//
// The side that listens only does not notice that its NAT has forgotten it: hence the
// third line. To check a relay is to tell it our address, and until that is done nothing
// comes from it (checkRelays).
//
// When a machine or a relay has too much to do, answers are late, and paths seem broken
// that are not: to call more then makes it worse. So one call is under way at a time; the
// pauses, a quarter more or less by chance, begin anew only when a path has been good for
// 5 s; a relay that is slow is not taken for one that has gone while packets come from
// it; and a peer or relay that says BUSY is left alone for 5, 10, … 60 s.
//
// All of that only while streams are open and for 10 s more, and in the first seconds. What is promised: when a relay dies under a
// conversation whose peer has another, a connection lives on, with a gap of up to 5
// seconds. If the peer has none, the connection ends when QUIC gives it up.
type heal struct {
	calling int       // calls under way
	next    time.Time // call, at the earliest; zero: none is planned
	tries   int       // since a path was last good for goodAfter
	good    time.Time // since when the path has been; zero: it is not
	straint time.Time // no call before that: not even in an emergency
	urgent  bool      // the next call takes the place of that under way, which may wait for a relay that has gone

	stop  context.CancelFunc // ends the call under way
	busy  int                // calls refused as BUSY, in a row
	leave time.Time          // after the last of these, until when there is no call

	local   netip.Addr // ours, on the way to the relay
	looked  time.Time  // when that was asked
	talked  bool       // streams were open when last looked
	pinging bool       // the relay is being asked whether it is there
	pinged  time.Time
	poked   time.Time   // for the sake of which check of the path the relay was sent something
	bad     wire.PeerID // a relay that did not answer
	unheard int         // how often in a row the relay did not
}

const (
	lookEvery   = 500 * time.Millisecond // for an address of ours that has changed
	relayEvery  = time.Second            // to ask a relay that a conversation depends on
	relayAnswer = time.Second            // within which it has to answer, at the most
	minBetween  = time.Second            // calls
	goodAfter   = 5 * time.Second
	maxBroken   = 30 * time.Second // between calls while the path is broken
	minLeave    = 5 * time.Second
	maxLeave    = time.Minute
)

// directAfter are the pauses between calls while the path is relayed; the last repeats.
var directAfter = []time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 15 * time.Second, time.Minute}

// lost notes that the path has just been lost.
func (h *heal) lost(now time.Time) {
	if h.tries == 0 || h.next.IsZero() {
		h.next = now.Add(h.pause(true))
	}
}

// pause is how long to wait before a call.
func (h *heal) pause(broken bool) time.Duration {
	switch {
	case h.tries == 0:
		return 0
	case broken:
		return vary(min(time.Second<<min(h.tries-1, 10), maxBroken))
	}
	return vary(directAfter[min(h.tries-1, len(directAfter)-1)])
}

// vary makes a duration a quarter longer or shorter by chance, so that many who have lost
// one relay do not come back in step.
func vary(d time.Duration) time.Duration { return d*3/4 + rand.N(d/2+1) }

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
		if h.good.IsZero() {
			h.good = now
		}
		h.next = time.Time{}
		if now.Sub(h.good) >= goodAfter {
			h.tries, h.busy = 0, 0
		}
	case h.next.IsZero() && broken:
		h.next = now.Add(h.pause(true))
	case h.next.IsZero():
		h.next = now.Add(directAfter[0])
	}
	if relayed || broken {
		h.good = time.Time{}
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
	if !h.next.IsZero() && !now.Before(h.next) && (h.calling == 0 || h.urgent) && !now.Before(h.straint) && !now.Before(h.leave) {
		h.urgent = false
		h.tries++
		h.next, h.straint = now.Add(h.pause(broken)), now.Add(minBetween)
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
	if h.pinging || now.Sub(h.pinged) < relayEvery<<min(h.unheard, 4) {
		return
	}
	h.pinged = now
	relay, ok := g.n.relayOf(g.id)
	if !ok {
		h.unheard++
		h.next = now
		return
	}
	c, ok := g.n.pool.Lookup(publicKey(relay))
	if !ok {
		h.unheard++
		h.bad, h.next = relay, now
		return
	}
	l := c.Value.(*link)
	if !l.IsUp() {
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
				if h.unheard > maxCallRelays { // we were cut off, and are no more
					h.next = now
				}
				h.unheard = 0
				return
			}
			h.bad = relay
			h.unheard++
			if others := g.n.callRelays(g.id, relay); len(others) > 0 && others[0] != relay && h.unheard <= maxCallRelays {
				h.next, h.straint, h.urgent = now, now, true
			}
		})
	})
}

// callAgain calls the peer through its relays, the one last heard of first.
func (g *agent) callAgain() {
	relays := g.n.callRelays(g.id, g.heal.bad)
	if len(relays) == 0 {
		return
	}
	h := &g.heal
	if h.stop != nil {
		h.stop()
	}
	ctx, cancel := context.WithTimeout(g.n.ctx, callFor)
	h.stop = cancel
	h.calling++
	started := g.n.spawn(func() {
		defer cancel()
		var err error
		for _, relay := range relays[:min(len(relays), maxCallRelays)] {
			if err = g.n.callAfresh(ctx, g.id, relay); err == nil {
				break
			}
		}
		g.tell(func(now time.Time) {
			h.calling--
			if err == nil {
				h.busy = 0
			} else if errors.Is(err, wire.CodeBusy) {
				h.leave = now.Add(vary(min(minLeave<<min(h.busy, 10), maxLeave)))
				h.busy++
			}
		})
	})
	if !started {
		cancel()
		h.calling--
	}
}
