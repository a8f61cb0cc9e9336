package node

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/wire"
)

// autoMode is what Config.Mode's ModeAuto has come to. Goroutines may share it.
type autoMode struct {
	client atomic.Bool // else server, as at first

	mu      sync.Mutex // one decides at a time; nothing of the user's is called while it is held
	decided reach.Decision
	changes []modeChange
	telling bool // somebody is at it, in the order in which they were made
}

// A modeChange is one of which everybody is to be told.
type modeChange struct {
	client bool
	why    Reachability // as it was then
}

// mode is how the node presents itself to others.
func (n *Node) mode() wire.Mode {
	if n.config.Mode == ModeClient || n.config.Mode == ModeAuto && n.auto.client.Load() {
		return wire.ModeClient
	}
	return wire.ModeServer
}

// decideMode draws the conclusion from the verdicts.
func (n *Node) decideMode(now time.Time) {
	if n.config.Mode != ModeAuto {
		return
	}
	m := &n.auto
	m.mu.Lock()
	defer m.mu.Unlock()
	was := m.client.Load()
	client := m.decided.Decide(n.self.Sum(now), n.reachProbe.rounds.Progress(n.self.Untried(now)), now)
	if client != was {
		m.client.Store(client)
		m.changes = append(m.changes, modeChange{client, n.Reachability()})
	}
	if m.telling {
		return
	}
	m.telling = true
	for len(m.changes) > 0 {
		c := m.changes[0]
		m.changes = m.changes[1:]
		m.mu.Unlock()
		n.modeChanged(c)
		m.mu.Lock()
	}
	m.telling = false
}

// modeChanged lets everybody know.
func (n *Node) modeChanged(c modeChange) {
	n.record.drop() // it says which
	n.config.Logger.Info("mode", "now", c.why.Mode, "why", c.why.Why)
	n.reachEvent(ReachEvent{Mode: c.why.Mode, Why: c.why.Why})
	select {
	case n.publishing <- struct{}{}:
	default:
	}
	for _, l := range n.links.all() {
		if l.IsUp() {
			l.sayMode()
		}
	}
	if c.client {
		return
	}
	n.spawn(func() { // so that those near find it who are not connected
		ctx, cancel := context.WithTimeout(n.ctx, time.Minute)
		defer cancel()
		if err := n.settle(ctx); err != nil && ctx.Err() == nil {
			n.config.Logger.Info("cannot settle as a server", "err", err)
		}
	})
}

// sayMode sends HELLO again, if the peer does not know our mode.
func (l *link) sayMode() {
	l.saying.Lock()
	defer l.saying.Unlock()
	if l.said != l.node.mode() {
		l.sendHello() // an error ends the link, which its reader sees
	}
}
