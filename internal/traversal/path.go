package traversal

import (
	"net/netip"
	"slices"
	"time"

	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

const (
	// talkingFor is how long a conversation is assumed to go on after its last stream has
	// been closed: a program may open one stream for each message.
	talkingFor = 10 * time.Second
	// minCheckGap is how long a path with a conversation may be silent before it is
	// checked. Further checks follow after a quarter of the silence so far, maxCheckGap at
	// most.
	minCheckGap = 300 * time.Millisecond
	maxCheckGap = 2500 * time.Millisecond
)

// A Path is how packets reach a peer at present. Paths can be compared.
type Path struct {
	Kind  quic.PathKind
	Addr  netip.AddrPort // of the peer, unless relayed
	Relay wire.PeerID    // zero unless relayed
	Quiet bool           // nothing has come that way for a while; packets go by relay too
}

// Path says in terms of peers what quic says of the path to a peer.
func (m *Sessions) Path(peer wire.PeerID, p quic.Path) Path {
	path := Path{Kind: p.Kind, Quiet: p.Quiet}
	if p.Kind == quic.Relayed {
		path.Relay, _ = m.relays.Route(peer)
	} else {
		path.Addr = p.Addr
	}
	return path
}

// A PathEvent reports a new path to a peer.
type PathEvent struct {
	Peer      wire.PeerID
	Path, Was Path // Was is zero for the first path
}

// A CallEvent reports the progress of a call.
type CallEvent struct {
	Peer    wire.PeerID
	Relay   wire.PeerID
	Inbound bool          // the peer is the caller
	What    string        // "call", "answered", "connected", "path", "no path" or "failed"
	Addr    wire.Addr     // of a path
	Took    time.Duration // since the call began
	Err     error         // of a call that failed
}

// Info tells how fast an outbound call was. Times count from when a user first asked for
// the peer.
type Info struct {
	Began     time.Time
	Connected time.Duration // until there was a connection
	Direct    time.Duration // until its path was not relayed; zero: it is still relayed
}

// setPath records the time of the first path that is not relayed.
func (i *Info) setPath(p Path, now time.Time) {
	if p.Kind != quic.Relayed && i.Direct == 0 && !i.Began.IsZero() {
		i.Direct = max(now.Sub(i.Began), i.Connected)
	}
}

// Info returns the timing of the outbound call that connected to a peer, if there was one.
func (m *Sessions) Info(id wire.PeerID) (Info, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.byPeer[id]
	if s == nil || s.info.Began.IsZero() {
		return Info{}, false
	}
	return s.info, true
}

// setConnected notes that an outbound call has connected.
func (m *Sessions) setConnected(id wire.PeerID, began time.Time, p Path) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.byPeer[id]; s != nil {
		now := time.Now()
		s.info = Info{Began: began, Connected: now.Sub(began)}
		s.info.setPath(p, now)
	}
}

// reportPath reports a path that differs from the one reported before. Only the session's
// own goroutine calls it, so that the last report is the true one.
func (s *session) reportPath() {
	m := s.sessions
	at, ok := s.socket.PathTo(s.key())
	if !ok {
		return
	}
	p := m.Path(s.id, at)
	m.mu.Lock()
	was, reported := m.paths[s.id]
	isCurrent := m.byPeer[s.id] == s
	if isCurrent {
		m.paths[s.id] = p
		s.info.setPath(p, time.Now())
	}
	m.mu.Unlock()
	if !isCurrent || reported && was == p {
		return
	}
	s.wake.Set()
	m.host.PathEvent(PathEvent{Peer: s.id, Path: p, Was: was})
}

// watchPath checks the path of a conversation that has fallen silent: the peer may be
// sending while our NAT has lost its mapping. When the path does not answer either, it
// checks our relays, which then know our new address by the time that the peer sends
// through one of them. It returns when to be called again.
func (s *session) watchPath(now time.Time, c *checklist) time.Time {
	if asked := c.state.Asked; !asked.IsZero() {
		at := asked.Add(c.state.RTT + c.state.RTT/2 + 20*time.Millisecond)
		switch {
		case s.restart.checkedFor == asked:
			return time.Time{}
		case now.Before(at):
			return at
		}
		s.restart.checkedFor = asked
		s.sessions.relays.CheckRelays(s.id)
		return time.Time{}
	}
	heard := s.socket.LastHeard(s.key())
	gap := min(max(now.Sub(heard)/4, minCheckGap), maxCheckGap)
	if c.state.Heard.After(heard) {
		heard = c.state.Heard
	}
	if due := heard.Add(gap); now.Before(due) {
		return due
	}
	c.checks.Check(now)
	return time.Time{}
}

// selectPath selects the path of the youngest checklist that has one. If that is quiet, the
// path of an older checklist qualifies only if it has answered since: whatever broke the
// younger path has most likely broken it, too.
func (s *session) selectPath(now time.Time) {
	var best *checklist
	for _, c := range s.checklists {
		if c.state.Found && !c.state.Quiet && (best == nil || !c.began.Before(best.began)) && !s.isStale(now, c) {
			best = c
		}
	}
	p := quic.Path{Kind: quic.Relayed}
	if best != nil {
		p = quic.Path{Kind: s.kindOf(best.state.Path.Addr), Addr: best.state.Path.Addr}
		if via := best.state.Path.Via; via > 0 {
			p.Via = best.ports[via-1]
		}
	}
	if best != nil {
		s.active = best
	} else if s.active != nil && !s.active.state.Found { // a quiet path goes on being checked
		s.active = nil
	}
	at, ok := s.socket.PathTo(s.key())
	if ok && at.Kind == p.Kind && at.Addr == p.Addr && at.Via == p.Via || !ok && best == nil {
		return
	}
	if best == nil {
		s.restart.pathLost(now)
	}
	if err := s.socket.SetPath(s.key(), p); err != nil {
		s.sessions.config.Logger.Debug("path cannot be set", "peer", s.id, "err", err)
	}
}

// isStale reports whether the path of a checklist is older than the one in use and has not
// answered since.
func (s *session) isStale(now time.Time, c *checklist) bool {
	switch {
	case c == s.active:
		return false
	case s.active == nil:
		return now.Sub(c.state.Heard) > maxCheckGap
	}
	return c.began.Before(s.active.began) && !c.state.Heard.After(s.active.state.Heard)
}

// kindOf says whether any host could send to an address of the peer: a LAN address, or
// one that the peer's own record names while the peer is a server without relays.
func (s *session) kindOf(a netip.AddrPort) quic.PathKind {
	if scope := reach.ScopeOf(a.Addr()); scope == reach.ScopePrivate || scope == reach.ScopeLoopback {
		return quic.Direct
	}
	if r := s.sessions.config.Peers.Record(s.id); r != nil {
		if info, err := r.Record.PeerInfo(); err == nil && info.Mode == wire.ModeServer && len(info.Relays) == 0 && slices.Contains(info.Addrs, wire.AddrFrom(a)) {
			return quic.Direct
		}
	}
	return quic.Punched
}
