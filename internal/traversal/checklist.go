package traversal

import (
	"net/netip"
	"slices"
	"time"

	"github.com/kadquic/kadquic/internal/punch"
	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

// A checklist is one call, outbound or inbound, with the connectivity checks by which it
// finds a path (RFC 8445 §6.1.2).
type checklist struct {
	checks    *punch.Checklist
	inbound   bool // the peer is the caller
	newSocket bool // it uses a socket that had sent nothing before
	relay     wire.PeerID
	ids       []punch.ID
	began     time.Time
	mapping   wire.Mapping // of our NAT as the peer was told: both sides decide by it which of them searches
	lastProbe time.Time    // when a genuine probe last came
	state     punch.State
	trimAt    time.Time // when to close unused ports
	failed    bool      // it has reported that it found no path

	ports     []*quic.Port // ports[i] is socket i+1 of checks; nil if closed
	search    portSearch
	contacted map[netip.Addr]bool // hosts that were sent a probe
}

// addChecklist adds a checklist, in place of the oldest that is not in use if there are
// too many.
func (s *session) addChecklist(c *checklist) {
	if len(s.checklists) >= maxChecklists {
		i := slices.IndexFunc(s.checklists, func(o *checklist) bool { return o != s.active })
		s.dropChecklist(s.checklists[i])
	}
	c.contacted = make(map[netip.Addr]bool)
	c.lastProbe = c.began
	c.ids = c.checks.IDs()
	s.checklists = append(s.checklists, c)
	if len(c.ids) == 0 {
		s.sessions.addKeyless(s, 1)
	}
	s.sessions.addIDs(s, c.ids)
}

// setKeys gives the checklist of an outbound call the keys that follow from the answer.
func (s *session) setKeys(now time.Time, c *checklist, keys punch.Keys) {
	if !slices.Contains(s.checklists, c) || len(c.ids) > 0 {
		return
	}
	s.sessions.addKeyless(s, -1)
	c.checks.SetKeys(now, keys, s.sender(c))
	c.ids = c.checks.IDs()
	s.sessions.addIDs(s, c.ids)
}

// dropChecklist ends a checklist, unless it has ended before.
func (s *session) dropChecklist(c *checklist) {
	i := slices.Index(s.checklists, c)
	if i < 0 {
		return
	}
	s.checklists = slices.Delete(s.checklists, i, i+1)
	if len(c.ids) == 0 {
		s.sessions.addKeyless(s, -1)
	}
	s.sessions.removeIDs(c.ids)
	c.close()
}

func (c *checklist) close() {
	c.search.end()
	for i := range c.ports {
		c.closePort(i)
	}
}

// closePort closes one of the ports, if it is open.
func (c *checklist) closePort(i int) {
	if c.ports[i] != nil {
		c.ports[i].Close()
		c.ports[i] = nil
	}
}

// update takes in the state of a checklist's checks.
func (s *session) update(now time.Time, c *checklist) {
	was := c.state
	c.state = c.checks.State(now)
	switch {
	case c.state.Found && c.state.Path != was.Path:
		c.search.end()
		c.trimAt = now.Add(2 * time.Second) // the peer may be about to select another path
		s.report(now, c, "path", wire.AddrFrom(c.state.Path.Addr))
	case !c.state.Found && !c.failed && c.checks.Done(now):
		c.failed = true
		s.report(now, c, "no path", "")
	}
	if c.failed && c != s.active || c != s.active && c.state.Found && now.Sub(c.lastProbe) > 2*idleLife {
		s.dropChecklist(c)
		return
	}
	if c.state.Found && !c.trimAt.IsZero() && now.After(c.trimAt) {
		c.trimAt = time.Time{}
		for i := range c.ports {
			if i+1 != c.state.Path.Via {
				c.closePort(i)
			}
		}
	}
}

// isChecking reports whether a checklist is still looking for a path.
func (s *session) isChecking(now time.Time) bool {
	return slices.ContainsFunc(s.checklists, func(c *checklist) bool { return !c.state.Found && !c.checks.Done(now) })
}

// sender returns the function that sends the probes of a checklist.
func (s *session) sender(c *checklist) punch.Sender {
	return func(to punch.Endpoint, b []byte) {
		if !c.contacted[to.Addr.Addr()] && len(c.contacted) < 64 {
			c.contacted[to.Addr.Addr()] = true
			s.sessions.config.Self.MarkContacted(to.Addr, time.Now()) // NATs let packets from there in from now on
		}
		if to.Via == 0 {
			_ = s.socket.SendProbe(to.Addr, b) // may be lost like any packet
		} else if to.Via <= len(c.ports) && c.ports[to.Via-1] != nil {
			_ = c.ports[to.Via-1].SendProbe(to.Addr, b)
		}
	}
}

func (s *session) report(now time.Time, c *checklist, what string, addr wire.Addr) {
	s.sessions.host.CallEvent(CallEvent{Peer: s.id, Relay: c.relay, Inbound: c.inbound, What: what, Addr: addr, Took: now.Sub(c.began)})
}

// addCandidates takes in the candidates of a peer's offer, and its address as the relay
// sees it.
func (s *session) addCandidates(now time.Time, c *checklist, offer wire.CandidateOffer, seen wire.Addr, relay netip.Addr) {
	guesses, addrs := s.sessions.remoteCandidates(offer, seen, relay)
	s.sessions.config.Logger.Debug("candidates", "peer", s.id, "inbound", c.inbound, "mapping", offer.Mapping, "ours", s.sessions.mapping(),
		"addrs", offer.Addrs, "seen", seen, "guesses", guesses, "checked", addrs)
	s.remoteAddrs.Store(&addrs)
	if offer.Mapping == wire.MappingSequential && c.mapping == wire.MappingSequential && (len(c.ports) == 0 || len(guesses) == 0) {
		return // each probe would use up a port that a later call predicts
	}
	c.checks.AddCandidates(now, true, guesses...)
	c.checks.AddCandidates(now, false, addrs...)
	at, ok := seen.AddrPort()
	if !ok && len(addrs) > 0 {
		at = addrs[0]
	}
	s.planSearch(now, c, offer, at, addrs)
}

// addCredit adds credit that the peer sent to the youngest checklist that can use it.
func (s *session) addCredit(size int) {
	select {
	case s.calls <- func(time.Time) {
		for _, c := range slices.Backward(s.checklists) {
			if c.isSearching() || !s.isSearching() && !c.state.Found {
				c.checks.AddCredit(size)
				return
			}
		}
	}:
	default: // lost, as a packet may be
	}
}
