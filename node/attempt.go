package node

import (
	"net/netip"
	"slices"
	"time"

	"github.com/kadquic/kadquic/internal/punch"
	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

// An attempt is one call, ours or the peer's, and the session in which it makes a path.
type attempt struct {
	s     *punch.Checklist
	came  bool // the peer called
	fresh bool // it goes by a socket that had sent nothing before
	relay wire.PeerID
	ids   []punch.ID
	began time.Time
	own   wire.Mapping // of our NAT, as the peer was told: both sides decide by it who searches
	heard time.Time    // a genuine probe last
	state punch.State
	trim  time.Time // when ports that are not used are closed
	over  bool      // it has said that it found no path

	ports    []*quic.Port // by which it searches; socket i+1 of the session; nil if closed
	birthday birthday
	sent     map[netip.Addr]bool // who has been sent something
}

// add takes in an attempt, in the place of the oldest that is of no use if there are
// too many.
func (g *agent) add(a *attempt) {
	if len(g.attempts) >= maxAttempts {
		i := slices.IndexFunc(g.attempts, func(o *attempt) bool { return o != g.path })
		g.drop(g.attempts[i])
	}
	a.sent = make(map[netip.Addr]bool)
	a.heard = a.began
	a.ids = a.s.IDs()
	g.attempts = append(g.attempts, a)
	if len(a.ids) == 0 {
		g.n.agents.waiting(g, 1)
	}
	g.n.agents.expect(g, a.ids)
}

// answered gives an attempt of ours the keys that follow from the answer.
func (g *agent) answered(now time.Time, a *attempt, keys punch.Keys) {
	if !slices.Contains(g.attempts, a) || len(a.ids) > 0 {
		return
	}
	g.n.agents.waiting(g, -1)
	a.s.SetKeys(now, keys, g.sender(a))
	a.ids = a.s.IDs()
	g.n.agents.expect(g, a.ids)
}

// drop ends an attempt, unless it has ended.
func (g *agent) drop(a *attempt) {
	i := slices.Index(g.attempts, a)
	if i < 0 {
		return
	}
	g.attempts = slices.Delete(g.attempts, i, i+1)
	if len(a.ids) == 0 {
		g.n.agents.waiting(g, -1)
	}
	g.n.agents.forget(a.ids)
	a.close()
}

func (a *attempt) close() {
	a.birthday.end()
	for i := range a.ports {
		a.closePort(i)
	}
}

// closePort closes one of the sockets, if it is open.
func (a *attempt) closePort(i int) {
	if a.ports[i] != nil {
		a.ports[i].Close()
		a.ports[i] = nil
	}
}

// look sees what has become of an attempt.
func (g *agent) look(now time.Time, a *attempt) {
	was := a.state
	a.state = a.s.State(now)
	switch {
	case a.state.Found && a.state.Path != was.Path:
		a.birthday.end()
		a.trim = now.Add(2 * time.Second) // the peer may be about to choose another
		g.event(now, a, "path", wire.AddrFrom(a.state.Path.Addr), nil)
	case !a.state.Found && !a.over && a.s.Done(now):
		a.over = true
		g.event(now, a, "no path", "", nil)
	}
	if a.over && a != g.path || a != g.path && a.state.Found && now.Sub(a.heard) > 2*lingering {
		g.drop(a)
		return
	}
	if a.state.Found && !a.trim.IsZero() && now.After(a.trim) {
		a.trim = time.Time{}
		for i := range a.ports {
			if i+1 != a.state.Path.Via {
				a.closePort(i)
			}
		}
	}
}

// looking reports whether a path is looked for still.
func (g *agent) looking(now time.Time) bool {
	return slices.ContainsFunc(g.attempts, func(a *attempt) bool { return !a.state.Found && !a.s.Done(now) })
}

// sender sends the probes of an attempt.
func (g *agent) sender(a *attempt) punch.Sender {
	return func(to punch.Endpoint, b []byte) {
		if !a.sent[to.Addr.Addr()] && len(a.sent) < 64 {
			a.sent[to.Addr.Addr()] = true
			g.n.self.SendsTo(to.Addr, time.Now()) // filters are open to it from now on
		}
		if to.Via == 0 {
			_ = g.t.SendProbe(to.Addr, b) // lost like any packet
		} else if to.Via <= len(a.ports) && a.ports[to.Via-1] != nil {
			_ = a.ports[to.Via-1].SendProbe(to.Addr, b)
		}
	}
}

func (g *agent) event(now time.Time, a *attempt, what string, addr wire.Addr, err error) {
	g.n.callEvent(CallEvent{Peer: g.id, Relay: a.relay, Inbound: a.came, What: what, Addr: addr, Took: now.Sub(a.began), Err: err})
}

// named takes in where the peer says it is, and where the relay sees it.
func (g *agent) named(now time.Time, a *attempt, i wire.CandidateOffer, seen wire.Addr, relay netip.Addr) {
	guesses, addrs := g.n.probed(i, seen, relay)
	g.n.config.Logger.Debug("introduced", "peer", g.id, "came", a.came, "mapping", i.Mapping, "ours", g.n.mapping(),
		"addrs", i.Addrs, "seen", seen, "guesses", guesses, "probed", addrs)
	g.told.Store(&addrs)
	if i.Mapping == wire.MappingSequential && a.own == wire.MappingSequential && (len(a.ports) == 0 || len(guesses) == 0) {
		return // each packet would take a port that is foreseen by a call to come
	}
	a.s.AddCandidates(now, true, guesses...)
	a.s.AddCandidates(now, false, addrs...)
	at, ok := seen.AddrPort()
	if !ok && len(addrs) > 0 {
		at = addrs[0]
	}
	g.plan(now, a, i, at, addrs)
}

// paid notes that the peer has sent bytes that only pay: for the youngest call that
// may use them.
func (g *agent) paid(size int) {
	select {
	case g.do <- func(time.Time) {
		for _, a := range slices.Backward(g.attempts) {
			if a.searches() || !g.searching() && !a.state.Found {
				a.s.AddCredit(size)
				return
			}
		}
	}:
	default: // lost like any packet
	}
}

// searches reports whether an attempt is searching for a random port.
func (a *attempt) searches() bool { return a.birthday.place != nil }
