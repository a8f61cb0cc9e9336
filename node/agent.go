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

// An agent, as ICE calls it (RFC 8445), makes and keeps a path to one peer, beneath
// whatever connections there are to it. It lasts from the first call until there has been no
// connection for a while. One goroutine, run, owns it; others tell it what happens.
type agent struct {
	n  *Node
	id wire.PeerID
	by wire.PeerID // the relay through which the peer's call began it; zero: we did
	t  *quic.Transport

	probes chan probe
	do     chan func(now time.Time)
	wake   chan struct{} // buffered; something may have changed
	ended  chan struct{} // closed when run has returned

	info CallInfo                         // guarded by agents.mu
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
	// lingering is how long an agent without connections lasts.
	lingering = 30 * time.Second
	// eager is for how long a path is looked for although no stream is open.
	eager = 20 * time.Second
)

func newAgent(n *Node, id wire.PeerID) *agent {
	return &agent{
		n: n, id: id, t: n.callSocket(),
		probes: make(chan probe, 256),
		do:     make(chan func(time.Time), 16),
		wake:   make(chan struct{}, 1),
		ended:  make(chan struct{}),
		began:  time.Now(),
		last:   time.Now(),
	}
}

func (g *agent) toldAt() []netip.AddrPort {
	if at := g.told.Load(); at != nil {
		return *at
	}
	return nil
}

// gotProbe hands a probe over, or drops it.
func (g *agent) gotProbe(p probe) {
	select {
	case g.probes <- p:
	default:
	}
}

// poke has run look at everything.
func (g *agent) poke() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// tell has run call f and waits for that; false if it has ended before.
func (g *agent) tell(f func(now time.Time)) bool {
	done := make(chan struct{})
	select {
	case g.do <- func(now time.Time) { f(now); close(done) }:
	case <-g.ended:
		return false
	}
	select {
	case <-done:
		return true
	case <-g.ended:
	}
	select {
	case <-done: // before it ended
		return true
	default:
		return false
	}
}

// tellAgent is tell for the agent with a peer, which begins if there is none, for a call
// through a relay by the peer; zero: by us.
func (n *Node) tellAgent(id, by wire.PeerID, f func(g *agent, now time.Time)) error {
	for {
		g, err := n.agent(id, by)
		if err != nil {
			return err
		}
		if g.tell(func(now time.Time) { f(g, now) }) {
			return nil
		}
		if n.ctx.Err() != nil {
			return ErrClosed
		}
	}
}

// run is the agent's one goroutine.
func (g *agent) run() {
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	defer g.end()
	for {
		select {
		case p := <-g.probes:
			g.receive(time.Now(), p)
		case f := <-g.do:
			f(time.Now())
		case <-g.wake:
			g.n.tellPath(g.t, g.id)
		case <-timer.C:
		case <-g.n.ctx.Done():
			return
		}
		now := time.Now()
		next := g.step(now)
		if next.IsZero() {
			return
		}
		timer.Reset(max(next.Sub(now), time.Millisecond))
	}
}

// end leaves nothing behind.
func (g *agent) end() {
	g.n.agents.end(g)
	for _, a := range g.attempts {
		a.close()
	}
	close(g.ended) // now: whoever has told of an attempt may close it, too
	if g.n.ctx.Err() == nil {
		_ = g.t.SetPath(publicKey(g.id), quic.Path{Kind: quic.Relayed}) // for lack of another
	}
}

// receive shows a probe to the attempts.
func (g *agent) receive(now time.Time, p probe) {
	for _, a := range g.attempts {
		via := 0
		if p.via != nil {
			via = slices.Index(a.ports, p.via) + 1
			if via == 0 {
				continue
			}
		}
		if a.s.Receive(now, via, p.from, p.b[:], g.sender(a)) {
			a.heard = now
			return
		}
	}
}

// step does what is due and returns when to be called again; the zero time when the
// agent is over.
func (g *agent) step(now time.Time) time.Time {
	next := now.Add(time.Second)
	sooner := func(t time.Time) {
		if !t.IsZero() && t.Before(next) {
			next = t
		}
	}
	conn, talking := g.conn()
	for _, a := range slices.Clone(g.attempts) {
		a.s.SetTalking(now, talking && a == g.path)
		spare := a != g.path && a.state.Found && (g.path == nil || g.path.state.Quiet)
		switch {
		case talking && a == g.path:
			sooner(g.watchPath(now, a))
		case spare: // is it alive?
			a.s.Check(now)
		}
		if !a.state.Found || a == g.path || spare {
			sooner(a.s.Step(now, g.sender(a)))
			sooner(g.stepBirthday(now, a))
		}
		g.look(now, a)
	}
	g.choose(now)
	if conn {
		g.n.tellPath(g.t, g.id)
	}
	sooner(g.stepHeal(now, conn, talking || now.Sub(g.began) < eager))
	if conn || len(g.attempts) > 0 && g.looking(now) || g.heal.calling > 0 {
		g.last = now
	}
	if now.Sub(g.last) >= lingering {
		return time.Time{}
	}
	return next
}

// conn reports whether there is a connection to the peer whose path is ours to choose,
// and whether streams are open on it, or were until a moment ago.
func (g *agent) conn() (is, talking bool) {
	is, unused := g.n.pool.Virtual(publicKey(g.id))
	return is, is && unused < talksFor
}

const (
	// talksFor is how long a conversation is taken to go on after its last stream has
	// been closed: a program may use one stream for each message.
	talksFor = 10 * time.Second
	// firstCheck is how long a path of a conversation is silent until it is checked; the
	// further checks come after a quarter of the silence so far.
	firstCheck = 300 * time.Millisecond
	lastCheck  = 2500 * time.Millisecond
)

// watchPath checks the path of a conversation that has fallen silent: the peer may be
// talking, and our NAT have forgotten us. When the path does not answer either, it
// checks our relays, which then know our new address by the time that the peer sends by
// one of them. It returns when to be called again.
func (g *agent) watchPath(now time.Time, a *attempt) time.Time {
	if asked := a.state.Asked; !asked.IsZero() {
		at := asked.Add(a.state.RTT + a.state.RTT/2 + 20*time.Millisecond)
		switch {
		case g.heal.poked == asked:
			return time.Time{}
		case now.Before(at):
			return at
		}
		g.heal.poked = asked
		g.n.checkRelays(g.id)
		return time.Time{}
	}
	heard := g.t.LastHeard(publicKey(g.id))
	gap := min(max(now.Sub(heard)/4, firstCheck), lastCheck)
	if a.state.Heard.After(heard) {
		heard = a.state.Heard
	}
	if due := heard.Add(gap); now.Before(due) {
		return due
	}
	a.s.Check(now)
	return time.Time{}
}

// choose sets the path: that of the youngest attempt that has one. When that is quiet,
// the path of an older one must have answered since: what has broken the path of the
// younger has most likely broken it, too.
func (g *agent) choose(now time.Time) {
	var best *attempt
	for _, a := range g.attempts {
		if a.state.Found && !a.state.Quiet && (best == nil || !a.began.Before(best.began)) && !g.isStale(now, a) {
			best = a
		}
	}
	p := quic.Path{Kind: quic.Relayed}
	if best != nil {
		p = quic.Path{Kind: g.kindOf(best.state.Path.Addr), Addr: best.state.Path.Addr}
		if via := best.state.Path.Via; via > 0 {
			p.Via = best.ports[via-1]
		}
	}
	if best != nil {
		g.path = best
	} else if g.path != nil && !g.path.state.Found { // else it is quiet, and goes on asking
		g.path = nil
	}
	at, ok := g.t.PathTo(publicKey(g.id))
	if ok && at.Kind == p.Kind && at.Addr == p.Addr && at.Via == p.Via || !ok && best == nil {
		return
	}
	if best == nil {
		g.heal.lost(now)
	}
	if err := g.t.SetPath(publicKey(g.id), p); err != nil {
		g.n.config.Logger.Debug("path cannot be set", "peer", g.id, "err", err)
	}
}

// isStale reports whether an attempt had a path before the present one, and nothing says
// that it has it still.
func (g *agent) isStale(now time.Time, a *attempt) bool {
	switch {
	case a == g.path:
		return false
	case g.path == nil:
		return now.Sub(a.state.Heard) > lastCheck
	}
	return a.began.Before(g.path.began) && !a.state.Heard.After(g.path.state.Heard)
}

// kindOf says whether strangers could send to an address of the peer's: it is of the
// LAN, or the peer itself says so, is a server and needs no relays.
func (g *agent) kindOf(a netip.AddrPort) quic.PathKind {
	if s := reach.ScopeOf(a.Addr()); s == reach.ScopePrivate || s == reach.ScopeLoopback {
		return quic.Direct
	}
	if r := g.n.peers.Record(g.id); r != nil {
		if info, err := r.Record.PeerInfo(); err == nil && info.Mode == wire.ModeServer && len(info.Relays) == 0 && slices.Contains(info.Addrs, wire.AddrFrom(a)) {
			return quic.Direct
		}
	}
	return quic.Punched
}
