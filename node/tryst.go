package node

import (
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/kadquic/kadquic/internal/punch"
	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

// A tryst is the making and keeping of a path to one peer, beneath whatever
// connections there are to it. It lasts from the first call until there has been no
// connection for a while. One goroutine, run, owns it; others tell it what happens.
type tryst struct {
	n  *Node
	id wire.PeerID
	by wire.PeerID // the relay through which the peer's call began it; zero: we did
	t  *quic.Transport

	probes chan probe
	do     chan func(now time.Time)
	wake   chan struct{} // buffered; something may have changed
	ended  chan struct{} // closed when run has returned

	info CallInfo                         // guarded by trysts.mu
	told atomic.Pointer[[]netip.AddrPort] // where the peer says it is, by its latest word

	// Owned by run.
	began    time.Time
	attempts []*attempt
	path     *attempt // whose path packets take; nil: they are relayed
	heal     heal
	last     time.Time // there was a reason to go on
}

// A probe is a packet of internal/punch that came.
type probe struct {
	via  *quic.Port
	from netip.AddrPort
	b    [punch.Size]byte
}

const (
	maxAttempts = 6 // at a time, with one peer
	// lingering is how long a tryst without connections lasts.
	lingering = 30 * time.Second
	// eager is for how long a path is looked for although no stream is open.
	eager = 20 * time.Second
)

func newTryst(n *Node, id wire.PeerID) *tryst {
	return &tryst{
		n: n, id: id, t: n.caller(),
		probes: make(chan probe, 256),
		do:     make(chan func(time.Time), 16),
		wake:   make(chan struct{}, 1),
		ended:  make(chan struct{}),
		began:  time.Now(),
		last:   time.Now(),
	}
}

func (m *tryst) toldAt() []netip.AddrPort {
	if at := m.told.Load(); at != nil {
		return *at
	}
	return nil
}

// gotProbe hands a probe over, or drops it.
func (m *tryst) gotProbe(p probe) {
	select {
	case m.probes <- p:
	default:
	}
}

// poke has run look at everything.
func (m *tryst) poke() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// tell has run call f and waits for that; false if it has ended before.
func (m *tryst) tell(f func(now time.Time)) bool {
	done := make(chan struct{})
	select {
	case m.do <- func(now time.Time) { f(now); close(done) }:
	case <-m.ended:
		return false
	}
	select {
	case <-done:
		return true
	case <-m.ended:
	}
	select {
	case <-done: // before it ended
		return true
	default:
		return false
	}
}

// tellTryst is tell for the tryst with a peer, which begins if there is none, for a call
// through a relay by the peer; zero: by us.
func (n *Node) tellTryst(id, by wire.PeerID, f func(m *tryst, now time.Time)) error {
	for {
		m, err := n.tryst(id, by)
		if err != nil {
			return err
		}
		if m.tell(func(now time.Time) { f(m, now) }) {
			return nil
		}
		if n.ctx.Err() != nil {
			return ErrClosed
		}
	}
}

// run is the tryst's one goroutine.
func (m *tryst) run() {
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	defer m.end()
	for {
		select {
		case p := <-m.probes:
			m.receive(time.Now(), p)
		case f := <-m.do:
			f(time.Now())
		case <-m.wake:
			m.n.tellPath(m.t, m.id)
		case <-timer.C:
		case <-m.n.ctx.Done():
			return
		}
		now := time.Now()
		next := m.step(now)
		if next.IsZero() {
			return
		}
		timer.Reset(max(next.Sub(now), time.Millisecond))
	}
}

// end leaves nothing behind.
func (m *tryst) end() {
	m.n.trysts.end(m)
	for _, a := range m.attempts {
		a.close()
	}
	close(m.ended) // now: whoever has told of an attempt may close it, too
	if m.n.ctx.Err() == nil {
		_ = m.t.SetPath(publicKey(m.id), quic.Path{Kind: quic.Relayed}) // for lack of another
	}
}

// receive shows a probe to the attempts.
func (m *tryst) receive(now time.Time, p probe) {
	for _, a := range m.attempts {
		via := 0
		if p.via != nil {
			via = slices.Index(a.ports, p.via) + 1
			if via == 0 {
				continue
			}
		}
		if a.s.Receive(now, via, p.from, p.b[:], m.sender(a)) {
			a.heard = now
			return
		}
	}
}

// step does what is due and returns when to be called again; the zero time when the
// tryst is over.
func (m *tryst) step(now time.Time) time.Time {
	next := now.Add(time.Second)
	sooner := func(t time.Time) {
		if !t.IsZero() && t.Before(next) {
			next = t
		}
	}
	conn, talking := m.conn()
	for _, a := range slices.Clone(m.attempts) {
		a.s.Talk(now, talking && a == m.path)
		if !a.state.Found || a == m.path {
			sooner(a.s.Step(now, m.sender(a)))
			sooner(m.stepBirthday(now, a))
		}
		m.look(now, a)
	}
	m.choose(now)
	if conn {
		m.n.tellPath(m.t, m.id)
	}
	sooner(m.stepHeal(now, conn, talking || now.Sub(m.began) < eager))
	if conn || len(m.attempts) > 0 && m.looking(now) || m.heal.calling > 0 {
		m.last = now
	}
	if now.Sub(m.last) >= lingering {
		return time.Time{}
	}
	return next
}

// conn reports whether there is a connection to the peer whose path is ours to choose,
// and whether streams are open on it.
func (m *tryst) conn() (is, talking bool) {
	c, ok := m.n.pool.Lookup(publicKey(m.id))
	if !ok || !c.Virtual() {
		return false, false
	}
	return true, c.Held()
}

// choose sets the path: that of the youngest attempt that has one.
func (m *tryst) choose(now time.Time) {
	var best *attempt
	for _, a := range m.attempts {
		if a.state.Found && !a.state.Quiet && (best == nil || !a.began.Before(best.began)) {
			best = a
		}
	}
	p := quic.Path{Kind: quic.Relayed}
	if best != nil {
		p = quic.Path{Kind: m.kindOf(best.state.Path.Addr), Addr: best.state.Path.Addr}
		if via := best.state.Path.Via; via > 0 {
			p.Via = best.ports[via-1]
		}
	}
	if best != nil {
		m.path = best
	} else if m.path != nil && !m.path.state.Found { // else it is quiet, and goes on asking
		m.path = nil
	}
	at, ok := m.t.PathTo(publicKey(m.id))
	if ok && at.Kind == p.Kind && at.Addr == p.Addr && at.Via == p.Via || !ok && best == nil {
		return
	}
	if best == nil {
		m.heal.lost(now)
	}
	if err := m.t.SetPath(publicKey(m.id), p); err != nil {
		m.n.config.Logger.Debug("path cannot be set", "peer", m.id, "err", err)
	}
}

// kindOf says whether strangers could send to an address of the peer's: it is of the
// LAN, or the peer itself says so, is a server and needs no relays.
func (m *tryst) kindOf(a netip.AddrPort) quic.PathKind {
	if s := reach.ScopeOf(a.Addr()); s == reach.ScopePrivate || s == reach.ScopeLoopback {
		return quic.Direct
	}
	if r := m.n.peers.Record(m.id); r != nil {
		if info, err := r.Record.PeerInfo(); err == nil && info.Mode == wire.ModeServer && len(info.Relays) == 0 && slices.Contains(info.Addrs, wire.AddrFrom(a)) {
			return quic.Direct
		}
	}
	return quic.Punched
}
