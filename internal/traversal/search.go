package traversal

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/kadquic/kadquic/internal/punch"
	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/wire"
)

// A portSearch is our part in the search for a random port, for one checklist: which side
// we are on, and the credit that we owe. The zero value is for checklists without a search.
//
// The side with endpoint-independent mapping searches from a new socket, whose address the
// offer names first. If two observers see a new socket at the same address, all others do.
// That is not certain of a used socket: some NATs assign it another port for peers whose
// packets came before its own. The callee opens the new socket before it answers. The caller
// cannot know that it will need one, and calls again.
type portSearch struct {
	opensSockets bool           // our ports are random: we send from many sockets
	target       netip.AddrPort // of the peer; the one address that they send to
	probesPorts  bool           // the peer's ports are random: we send to many ports
	ip           netip.Addr     // of the peer, to whose ports we send

	due     time.Time // zero: not planned, or it has begun
	credit  int       // bytes still owed to the peer
	spentAt time.Time // when some was last sent
	release func()    // releases the slot of a search under way; nil: there is none
}

const (
	// searchDelay gives cheaper candidate pairs a head start over the port search.
	searchDelay = 150 * time.Millisecond
	// secondCallTime is how long the side with random ports waits, after a first inbound
	// call, for the second one, which begins the search.
	secondCallTime = 600 * time.Millisecond
	// maxSearchCalls bounds the calls under way that begin a search.
	maxSearchCalls = 4
	// creditEvery and creditSize: 11 kB a second, the cost of 200 probes less what is
	// sent at first; twice that for 400 sockets.
	creditEvery = 100 * time.Millisecond
	creditSize  = 1100
	firstCredit = 300 * (punch.Size + 28)
)

// isIndependent reports whether a NAT maps a socket to one port for all destinations
// (endpoint-independent mapping, RFC 4787 §4.1).
func isIndependent(m wire.Mapping) bool {
	return m == wire.MappingNone || m == wire.MappingIndependent
}

// isSearchable reports whether a peer's ports are random and may be searched.
func isSearchable(peer wire.CandidateOffer, seen netip.AddrPort) bool {
	return peer.Mapping == wire.MappingRandom && allowsSearch(peer, seen)
}

func allowsSearch(peer wire.CandidateOffer, seen netip.AddrPort) bool {
	return peer.Birthday && seen.Addr().Is4() && reach.ScopeOf(seen.Addr()) == reach.ScopeGlobal
}

// planSearch decides whether a checklist needs a search: the ports of one side are random,
// the other side's NAT maps endpoint-independently, and both sides agree. The addrs are the
// peer's.
func (s *session) planSearch(now time.Time, c *checklist, peer wire.CandidateOffer, seen netip.AddrPort, addrs []netip.AddrPort) {
	p := &c.search
	switch {
	case c.mapping == wire.MappingRandom && isIndependent(peer.Mapping) && allowsSearch(peer, seen):
		p.opensSockets, p.target, p.credit = true, seen, punch.SearchCost(false, seen.Addr())
		if i := slices.IndexFunc(addrs, func(at netip.AddrPort) bool { return at.Addr() == seen.Addr() }); i >= 0 {
			p.target = addrs[i]
		}
		switch {
		case !c.inbound || peer.Mapping == wire.MappingNone:
			p.due = now.Add(searchDelay)
		case len(s.checklists) == 1:
			p.due = now.Add(secondCallTime)
		default: // this is the second call
			p.due = now
		}
	case (c.newSocket || c.mapping == wire.MappingNone) && isIndependent(c.mapping) && isSearchable(peer, seen):
		p.probesPorts, p.ip, p.credit = true, seen.Addr(), punch.SearchCost(true, seen.Addr())
		p.due = now
		if c.inbound || !c.newSocket {
			p.due = now.Add(searchDelay)
		}
	case !c.inbound && !c.newSocket && c.mapping < wire.MappingSequential && isSearchable(peer, seen):
		s.callForSearch(c.relay)
		return
	default:
		return
	}
	for _, o := range s.checklists { // the peer does likewise
		if o != c {
			o.endSearch()
		}
	}
}

// callForSearch calls the peer a second time, for a search, unless there is a path by then.
func (s *session) callForSearch(relay wire.PeerID) {
	m := s.sessions
	s.restart.calls++
	started := m.searchCalls.TryGo(func() {
		ctx, cancel := context.WithTimeout(m.group.Context(), callTimeout)
		defer cancel()
		if err := s.searchThrough(ctx, relay); err != nil {
			m.reportFailed(s.id, relay, err)
		}
		s.do(func(time.Time) { s.restart.calls-- })
	})
	if !started {
		s.restart.calls--
	}
}

func (s *session) searchThrough(ctx context.Context, relay wire.PeerID) error {
	m := s.sessions
	delay := time.NewTimer(searchDelay)
	defer delay.Stop()
	r, err := m.relays.Connect(ctx, relay)
	if err != nil {
		return fmt.Errorf("relay %s: %w", relay, err)
	}
	from := m.newProbeSocket(ctx, r.Conn().RemoteAddr(), m.mapping())
	if from.port == nil {
		m.config.Logger.Debug("no socket for a port search", "peer", s.id)
		return nil
	}
	select {
	case <-delay.C:
	case <-ctx.Done():
	}
	var isNeeded bool
	if !s.do(func(time.Time) { isNeeded = s.active == nil && !s.isSearching() }) || !isNeeded {
		from.close()
		return nil
	}
	return m.callFrom(ctx, s.id, r, from, func() {})
}

func (p *portSearch) end() {
	p.due, p.credit = time.Time{}, 0
	if p.release != nil {
		p.release()
		p.release = nil
	}
}

// endSearch ends the search of a checklist in favour of a younger one.
func (c *checklist) endSearch() {
	p := &c.search
	if c.state.Found || !p.opensSockets && !p.probesPorts {
		return
	}
	p.end()
	c.checks.EndSearch()
	if p.opensSockets {
		for i := range c.ports {
			c.closePort(i)
		}
	}
}

// stepSearch begins the search when it is due and sends credit for the peer's part.
func (s *session) stepSearch(now time.Time, c *checklist) time.Time {
	p := &c.search
	if c.state.Found || c.checks.Done(now) {
		p.end()
		return time.Time{}
	}
	if !p.due.IsZero() {
		if now.Before(p.due) {
			return p.due
		}
		p.due = time.Time{}
		if !s.beginSearch(now, c) {
			p.end()
			return time.Time{}
		}
	}
	if p.release == nil || p.credit <= 0 {
		return time.Time{}
	}
	size := creditSize
	if p.probesPorts {
		size = 2 * creditSize
	}
	if p.spentAt.IsZero() {
		size = min(firstCredit, p.credit)
	} else if now.Sub(p.spentAt) < creditEvery {
		return p.spentAt.Add(creditEvery)
	}
	p.spentAt = now
	for ; size > 0; size -= creditSize {
		s.sessions.relays.SendCredit(s.id, min(size, creditSize))
		p.credit -= min(size, creditSize)
	}
	return now.Add(creditEvery)
}

// isSearching reports whether a checklist of the session has a search under way.
func (s *session) isSearching() bool {
	return slices.ContainsFunc(s.checklists, (*checklist).isSearching)
}

func (c *checklist) isSearching() bool { return c.search.release != nil }

func (s *session) beginSearch(now time.Time, c *checklist) bool {
	slots := s.sessions.searches
	if s.isSearching() || !slots.TryAcquire() {
		return false
	}
	p := &c.search
	p.release = slots.Release
	if p.probesPorts {
		c.checks.SearchPorts(now, p.ip)
		return true
	}
	c.checks.SearchFromSockets(now, p.target, func() (via int, ok bool) { return s.openSearchPort(c) })
	return true
}

// openSearchPort opens one of many sockets, in place of the oldest once there are enough.
func (s *session) openSearchPort(c *checklist) (via int, ok bool) {
	if i := len(c.ports) - punch.Sockets; i >= 0 {
		c.closePort(i)
	}
	p, err := s.socket.OpenPort()
	if err != nil {
		s.sessions.config.Logger.Debug("no more sockets", "err", err)
		return 0, false
	}
	c.ports = append(c.ports, p)
	return len(c.ports), true
}
