package traversal

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

// A restart is the state of ICE restarts (RFC 8445 §9): new calls that replace a broken
// path while streams are open. A path breaks when a NAT on either side loses its mapping or
// a host moves. QUIC's packets also go through the relay once a path has been quiet for half
// a second. Two tasks remain: the relay must know our present address, for which any
// packet to it will do, and a new call must find a new path. Both sides call, since perhaps
// only one of them has relays, or knows that it has moved.
//
//	path silent for 0.3 s      check the path; no answer in 1½ round trips: check the relays
//	path quiet                 call at once, then after 1, 2, 4, … 30 s
//	our own address changes    call at once; the address is looked up every half second
//	path relayed               call after 5 round trips, 1, 2, 5, 15, 60, 60, … s
//	relay silent               call through another relay, connect to this one again
//
// A side that only receives does not notice that its NAT has lost the mapping: therefore the
// third line. A relay check tells the relay our address; before that, nothing from the relay
// arrives (Relays.CheckRelays).
//
// When a machine or a relay is overloaded, answers are late and intact paths look broken;
// more calls would make that worse. So one call is under way at a time; the pauses vary by a
// quarter, and start from the shortest only after a path has been good for 5 s; a slow relay
// does not count as dead while packets come from it; a peer or relay that answers BUSY gets
// no call for 5, 10, … 60 s.
//
// All this happens while streams are open, for 10 s after, and in the first seconds of a
// session. The promise: when a relay dies during a conversation with a peer that has another
// relay, the connection survives with a gap of up to 5 seconds. If the peer has no other
// relay, the connection ends when QUIC gives up.
type restart struct {
	calls     int       // under way
	nextCall  time.Time // at the earliest; zero: none is planned
	tries     int       // since a path was last good for goodAfter
	goodSince time.Time // since when the path has been good; zero: it is not
	notBefore time.Time // no call before this, not even an urgent one
	urgent    bool      // the next call replaces the one under way, which may wait for a dead relay

	cancel     context.CancelFunc // ends the call under way
	busyTries  int                // calls refused as BUSY, in a row
	pauseUntil time.Time          // set by the last of these

	localAddr    netip.Addr // ours, on the route to the relay
	localChecked time.Time  // when localAddr was looked up
	wasTalking   bool       // streams were open at the last step

	checking     bool // the relay is being pinged
	relayChecked time.Time
	checkedFor   time.Time   // the unanswered path check for which the relays were last checked
	deadRelay    wire.PeerID // did not answer
	unanswered   int         // relay checks in a row
}

const (
	localAddrEvery  = 500 * time.Millisecond // how often our address is looked up
	relayCheckEvery = time.Second            // of the relay that a conversation depends on
	callGap         = time.Second            // between calls, at least
	goodAfter       = 5 * time.Second
	maxBrokenPause  = 30 * time.Second // between calls while the path is broken
	minBusyPause    = 5 * time.Second
	maxBusyPause    = time.Minute
)

// relayedPauses are the pauses between calls while the path is relayed; the last repeats.
var relayedPauses = []time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 15 * time.Second, time.Minute}

// pathLost notes that the path has just been lost.
func (r *restart) pathLost(now time.Time) {
	if r.tries == 0 || r.nextCall.IsZero() {
		r.nextCall = now.Add(r.pause(true))
	}
}

// pause returns how long to wait before the next call.
func (r *restart) pause(broken bool) time.Duration {
	switch {
	case r.tries == 0:
		return 0
	case broken:
		return jitter(min(time.Second<<min(r.tries-1, 10), maxBrokenPause))
	}
	return jitter(relayedPauses[min(r.tries-1, len(relayedPauses)-1)])
}

// jitter makes a duration up to a quarter longer or shorter, so that many peers that lost
// one relay do not return in step.
func jitter(d time.Duration) time.Duration { return d*3/4 + rand.N(d/2+1) }

// stepRestart does what is due and returns when to be called again.
func (s *session) stepRestart(now time.Time, connected, talking bool) time.Time {
	r := &s.restart
	if !connected || !talking {
		r.wasTalking, r.nextCall = false, time.Time{}
		return time.Time{}
	}
	at, _ := s.socket.PathTo(s.key())
	broken := at.Quiet || s.active != nil && s.active.state.Quiet
	relayed := at.Kind == quic.Relayed
	s.planRestart(now, relayed, broken)
	if relayed || broken {
		r.goodSince = time.Time{}
	}
	if now.Sub(r.localChecked) >= localAddrEvery {
		r.localChecked = now
		if s.hasMoved() {
			r.nextCall, r.tries, r.urgent = now, 0, true
			if s.active != nil {
				s.active.checks.Check(now)
			}
			s.sessions.relays.CheckRelays(s.id)
		}
	}
	if relayed || broken {
		s.checkRelay(now)
	}
	isDue := !r.nextCall.IsZero() && !now.Before(r.nextCall)
	if isDue && s.isSearching() && !broken { // let the port search finish
		r.nextCall, isDue = now.Add(relayedPauses[0]), false
	}
	if isDue && (r.calls == 0 || r.urgent) && !now.Before(r.notBefore) && !now.Before(r.pauseUntil) {
		r.urgent = false
		r.tries++
		r.nextCall, r.notBefore = now.Add(r.pause(broken)), now.Add(callGap)
		s.sessions.relays.CheckRelays(s.id)
		s.callAgain()
	}
	next := r.localChecked.Add(localAddrEvery)
	if r.nextCall.After(now) && r.nextCall.Before(next) {
		next = r.nextCall
	}
	return next
}

// planRestart decides when the next call is due, from the state of the path.
func (s *session) planRestart(now time.Time, relayed, broken bool) {
	r := &s.restart
	switch {
	case !r.wasTalking: // a conversation begins
		r.wasTalking, r.tries, r.localAddr, r.localChecked = true, 0, netip.Addr{}, time.Time{}
		r.nextCall = now.Add(s.firstPause())
	case !relayed && !broken:
		if r.goodSince.IsZero() {
			r.goodSince = now
		}
		r.nextCall = time.Time{}
		if now.Sub(r.goodSince) >= goodAfter {
			r.tries, r.busyTries = 0, 0
		}
	case r.nextCall.IsZero() && broken:
		r.nextCall = now.Add(r.pause(true))
	case r.nextCall.IsZero():
		r.nextCall = now.Add(relayedPauses[0])
	}
}

// firstPause is how long a call has to find a path before the next call tries a new
// socket: twice what it needs at most, which is 2½ round trips if all take as long as the
// one to the relay.
func (s *session) firstPause() time.Duration {
	relay, _ := s.sessions.relays.Route(s.id)
	c, ok := s.sessions.config.Pool.Lookup(quic.PublicKey(relay))
	if !ok {
		return relayedPauses[0]
	}
	return min(max(5*c.Stats().SmoothedRTT, 200*time.Millisecond), relayedPauses[0])
}

// hasMoved reports whether this machine sends to the relay from another address than
// before.
func (s *session) hasMoved() bool {
	if !s.sessions.host.OnMachine() {
		return false
	}
	to := s.relayAddr()
	if !to.IsValid() {
		return false
	}
	local, ok := sourceAddr(to)
	r := &s.restart
	moved := ok && r.localAddr.IsValid() && local != r.localAddr
	if ok {
		r.localAddr = local
	}
	return moved
}

// relayAddr returns the address of the relay that packets to the peer go through.
func (s *session) relayAddr() netip.AddrPort {
	relay, ok := s.sessions.relays.Route(s.id)
	if !ok {
		return netip.AddrPort{}
	}
	c, ok := s.sessions.config.Pool.Lookup(quic.PublicKey(relay))
	if !ok || c.Virtual() {
		return netip.AddrPort{}
	}
	return c.RemoteAddr()
}

// sourceAddr returns the address from which this machine sends to another. Connecting a
// UDP socket sends nothing.
func sourceAddr(to netip.AddrPort) (netip.Addr, bool) {
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

// checkRelay pings the relay that the conversation depends on. If it does not answer, the
// next call goes through another relay.
func (s *session) checkRelay(now time.Time) {
	r := &s.restart
	if r.checking || now.Sub(r.relayChecked) < relayCheckEvery<<min(r.unanswered, 4) {
		return
	}
	r.relayChecked = now
	m := s.sessions
	relay, ok := m.relays.Route(s.id)
	if !ok {
		r.unanswered++
		r.nextCall = now
		return
	}
	c, ok := m.config.Pool.Lookup(quic.PublicKey(relay))
	if !ok {
		r.unanswered++
		r.deadRelay, r.nextCall = relay, now
		return
	}
	conn := c.Value.(Relay)
	if !conn.IsUp() {
		return
	}
	r.checking = m.group.Go(func() {
		err := m.relays.CheckRelay(conn)
		s.do(func(now time.Time) { s.handleRelayCheck(now, relay, err) })
	})
}

func (s *session) handleRelayCheck(now time.Time, relay wire.PeerID, err error) {
	r := &s.restart
	r.checking = false
	if err == nil {
		if r.deadRelay == relay {
			r.deadRelay = wire.PeerID{}
		}
		if r.unanswered > MaxRelays { // we were cut off and are online again
			r.nextCall = now
		}
		r.unanswered = 0
		return
	}
	r.deadRelay = relay
	r.unanswered++
	if others := s.sessions.relaysFor(s.id, relay); len(others) > 0 && others[0] != relay && r.unanswered <= MaxRelays {
		r.nextCall, r.notBefore, r.urgent = now, now, true
	}
}

// callAgain calls the peer through its relays, one after the other. A dead relay comes
// last.
func (s *session) callAgain() {
	m := s.sessions
	relays := m.relaysFor(s.id, s.restart.deadRelay)
	if len(relays) == 0 {
		return
	}
	r := &s.restart
	if r.cancel != nil {
		r.cancel()
	}
	ctx, cancel := context.WithTimeout(m.group.Context(), callTimeout)
	r.cancel = cancel
	r.calls++
	started := m.group.Go(func() {
		defer cancel()
		var err error
		for _, relay := range relays[:min(len(relays), MaxRelays)] {
			if err = m.callFromNewSocket(ctx, s.id, relay); err == nil {
				break
			}
		}
		s.do(func(now time.Time) {
			r.calls--
			if err == nil {
				r.busyTries = 0
			} else if errors.Is(err, wire.CodeBusy) {
				r.pauseUntil = now.Add(jitter(min(minBusyPause<<min(r.busyTries, 10), maxBusyPause)))
				r.busyTries++
			}
		})
	})
	if !started {
		cancel()
		r.calls--
	}
}
