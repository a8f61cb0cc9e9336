package traversal

import (
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/kadquic/kadquic/internal/background"
	"github.com/kadquic/kadquic/internal/punch"
	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

// A session makes and keeps a path to one peer, beneath the connections to it, like an
// ICE agent (RFC 8445). It begins with the first call and ends when there has been no
// connection for a while. One goroutine, run, owns it.
type session struct {
	sessions *Sessions
	id       wire.PeerID
	begunBy  wire.PeerID // the relay of the inbound call that began it; zero: an outbound call did
	socket   *quic.Transport

	probes chan probe
	calls  chan func(now time.Time)
	wake   background.Wake // something may have changed
	ended  chan struct{}   // closed when run has returned

	info        Info                             // guarded by Sessions.mu
	remoteAddrs atomic.Pointer[[]netip.AddrPort] // the candidates that the peer named last

	// Owned by run.
	began      time.Time
	checklists []*checklist
	active     *checklist // its path is in use; nil: packets are relayed
	restart    restart
	lastNeeded time.Time // when there was last a reason to keep the session
}

// A probe is a received packet of package punch.
type probe struct {
	via  *quic.Port
	from netip.AddrPort
	b    [punch.Size]byte
}

const (
	maxChecklists = 6 // of one session
	// idleLife is how long a session without connections lasts.
	idleLife = 30 * time.Second
	// firstSearch is how long a new session looks for a path although no stream is open.
	firstSearch = 20 * time.Second
)

func newSession(m *Sessions, id wire.PeerID) *session {
	return &session{
		sessions: m, id: id, socket: m.host.Socket(),
		probes:     make(chan probe, 256),
		calls:      make(chan func(time.Time), 16),
		wake:       background.NewWake(),
		ended:      make(chan struct{}),
		began:      time.Now(),
		lastNeeded: time.Now(),
	}
}

func (s *session) key() quic.PublicKey { return quic.PublicKey(s.id) }

// lastRemoteAddrs returns the candidates that the peer named last.
func (s *session) lastRemoteAddrs() []netip.AddrPort {
	if addrs := s.remoteAddrs.Load(); addrs != nil {
		return *addrs
	}
	return nil
}

// offerProbe hands a probe to run, or drops it if run is busy.
func (s *session) offerProbe(p probe) {
	select {
	case s.probes <- p:
	default:
	}
}

// do has run call f and waits for that. It returns false if the session ended before.
func (s *session) do(f func(now time.Time)) bool {
	done := make(chan struct{})
	select {
	case s.calls <- func(now time.Time) { f(now); close(done) }:
	case <-s.ended:
		return false
	}
	select {
	case <-done:
		return true
	case <-s.ended:
	}
	select {
	case <-done: // before it ended
		return true
	default:
		return false
	}
}

// run is the session's one goroutine.
func (s *session) run() {
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	defer s.close()
	for {
		select {
		case p := <-s.probes:
			s.handleProbe(time.Now(), p)
		case f := <-s.calls:
			f(time.Now())
		case <-s.wake.C():
			s.reportPath()
		case <-timer.C:
		case <-s.sessions.group.Context().Done():
			return
		}
		now := time.Now()
		next := s.step(now)
		if next.IsZero() {
			return
		}
		timer.Reset(max(next.Sub(now), time.Millisecond))
	}
}

// close releases everything that the session holds.
func (s *session) close() {
	s.sessions.remove(s)
	for _, c := range s.checklists {
		c.close()
	}
	close(s.ended) // from now on a caller of do may close its checklist itself
	if s.sessions.group.Context().Err() == nil {
		_ = s.socket.SetPath(s.key(), quic.Path{Kind: quic.Relayed})
	}
}

// handleProbe offers a probe to the checklists.
func (s *session) handleProbe(now time.Time, p probe) {
	for _, c := range s.checklists {
		via := 0
		if p.via != nil {
			via = slices.Index(c.ports, p.via) + 1
			if via == 0 {
				continue
			}
		}
		if c.checks.Receive(now, via, p.from, p.b[:], s.sender(c)) {
			c.lastProbe = now
			return
		}
	}
}

// step does what is due and returns when to be called again, or the zero time when the
// session has ended.
func (s *session) step(now time.Time) time.Time {
	next := now.Add(time.Second)
	sooner := func(t time.Time) {
		if !t.IsZero() && t.Before(next) {
			next = t
		}
	}
	connected, talking := s.connection()
	for _, c := range slices.Clone(s.checklists) {
		c.checks.SetTalking(now, talking && c == s.active)
		isSpare := c != s.active && c.state.Found && (s.active == nil || s.active.state.Quiet)
		switch {
		case talking && c == s.active:
			sooner(s.watchPath(now, c))
		case isSpare:
			c.checks.Check(now)
		}
		if !c.state.Found || c == s.active || isSpare {
			sooner(c.checks.Step(now, s.sender(c)))
			sooner(s.stepSearch(now, c))
		}
		s.update(now, c)
	}
	s.selectPath(now)
	if connected {
		s.reportPath()
	}
	sooner(s.stepRestart(now, connected, talking || now.Sub(s.began) < firstSearch))
	if connected || len(s.checklists) > 0 && s.isChecking(now) || s.restart.calls > 0 {
		s.lastNeeded = now
	}
	if now.Sub(s.lastNeeded) >= idleLife {
		return time.Time{}
	}
	return next
}

// connection reports whether there is a connection to the peer through a relay, whose
// path this session selects, and whether streams are open on it or were until just now.
func (s *session) connection() (connected, talking bool) {
	connected, unused := s.sessions.config.Pool.Virtual(s.key())
	return connected, connected && unused < talkingFor
}
