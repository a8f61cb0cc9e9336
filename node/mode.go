package node

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/wire"
)

// autoMode is the mode that a node with ModeAuto has chosen. Goroutines may share it.
type autoMode struct {
	client atomic.Bool // false: server, the initial mode

	mu      sync.Mutex // serializes decisions; not held during calls of the user's functions
	decided reach.Decision
	changes []modeChange
	telling bool // a goroutine reports changes, in the order of the decisions
}

// A modeChange is a change of mode that the node must report to its user and its peers.
type modeChange struct {
	client bool
	why    Reachability // at the time of the decision
}

// mode returns the mode that the node tells its peers.
func (n *Node) mode() wire.Mode {
	if n.config.Mode == ModeClient || n.config.Mode == ModeAuto && n.auto.client.Load() {
		return wire.ModeClient
	}
	return wire.ModeServer
}

// decideMode chooses the mode of a node with ModeAuto from the reachability verdicts. It
// reports a change unless another call is already reporting.
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

// modeChanged reports a change of mode to the log, the user and all connected peers. A
// node that becomes a server also runs settle.
func (n *Node) modeChanged(c modeChange) {
	n.record.drop() // the record contains the mode
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
	n.spawn(func() { // so that its neighbours without a connection find the node
		ctx, cancel := context.WithTimeout(n.ctx, time.Minute)
		defer cancel()
		if err := n.joiner.FindPosition(ctx); err != nil && ctx.Err() == nil {
			n.config.Logger.Info("cannot settle as a server", "err", err)
		}
	})
}

// sayMode sends HELLO again, if this node's mode has changed since the latest HELLO.
func (l *link) sayMode() {
	l.saying.Lock()
	defer l.saying.Unlock()
	if l.said != l.node.mode() {
		l.sendHello() // ignore the error: it ends the link, which the link's reader handles
	}
}
