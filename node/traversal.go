package node

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/kadquic/kadquic/internal/traversal"
	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

// newSessions makes the sessions with peers that are called through relays, for New.
func (n *Node) newSessions() *traversal.Sessions {
	return traversal.New(traversal.Config{
		Key:        n.config.Key,
		Host:       sessionHost{n},
		Relays:     relayClient{n},
		Background: n.background,
		Pool:       n.pool,
		Self:       n.self,
		Peers:      n.peers,
		Logger:     n.config.Logger,
		Admit:      n.config.Admit,
	})
}

// reachForStream returns a link for a conversation with a peer. If the peer has relays, as
// it is behind a NAT, that is a connection whose path can be restarted.
func (n *Node) reachForStream(ctx context.Context, id wire.PeerID) (*link, error) {
	n.wanted.Add(id) // until there is the better connection, the user waits
	defer n.wanted.Remove(id)
	l, err := n.reachFor(ctx, id, forStream)
	if err != nil || l.conn.Virtual() || l.addr.Addr().IsLoopback() {
		return l, err
	}
	if !n.sessions.Upgrade(ctx, id, n.wanted.Since(id, time.Now()), n.relaysOf(id)) {
		return l, nil
	}
	return n.linkTo(ctx, id, forStream)
}

// sessionHost is the node as its sessions see it.
type sessionHost struct{ n *Node }

func (h sessionHost) Socket() *quic.Transport { return h.n.callSocket() }
func (h sessionHost) OnMachine() bool         { return h.n.onMachine }

func (h sessionHost) DialAddrs(id wire.PeerID) []wire.Addr { return h.n.dialAddrs(id) }

func (h sessionHost) NetworkTime() time.Time {
	now := time.Now()
	ahead, _ := h.n.skew.median(now) // 0 if not known
	return now.Add(ahead)
}

// FindObservers has a client ask a connected server for other nodes: a client that wants
// one answer, and gets it from the first server, knows no other. A node that may become a
// server does not: it needs peers to which it has sent nothing, for dial-backs.
func (h sessionHost) FindObservers(ctx context.Context) {
	n := h.n
	if n.config.Mode != ModeClient {
		return
	}
	for _, l := range n.links.all() {
		if !l.IsUp() || !l.IsServer() {
			continue
		}
		_, nodes, err := n.lookups.FindNode(ctx, l.id, n.key)
		for _, c := range nodes.Contacts {
			n.learn(l.addr.Addr(), c, time.Now())
		}
		if err == nil {
			return
		}
	}
}

func (h sessionHost) CallEvent(e traversal.CallEvent) { h.n.callEvent(CallEvent(e)) }

func (h sessionHost) PathEvent(e traversal.PathEvent) {
	event := PathEvent{Peer: e.Peer, Path: publicPath(e.Path), Was: publicPath(e.Was)}
	h.n.config.Logger.Debug("path", "peer", e.Peer, "path", event.Path.String(), "was", event.Was.String())
	if t := h.n.config.Trace; t != nil && t.Path != nil {
		t.Path(event)
	}
}

// relayClient is the node's use of relays as its sessions see it.
type relayClient struct{ n *Node }

func (c relayClient) Connect(ctx context.Context, relay wire.PeerID) (traversal.Relay, error) {
	l, err := c.n.relayLink(ctx, relay)
	if err != nil {
		return nil, err
	}
	return l, nil
}

func (c relayClient) Call(ctx context.Context, relay, peer wire.PeerID, offer []byte, padding int) (wire.Called, error) {
	called, _, err := c.n.callBy(ctx, relay, peer, offer, padding)
	return called, err
}

func (c relayClient) Recover(r traversal.Relay, err error) bool {
	if !isRetryable(err) {
		return false
	}
	r.(*link).closeFor(err)
	return true
}

func (c relayClient) RelaysOf(peer wire.PeerID) []wire.PeerID      { return c.n.relaysOf(peer) }
func (c relayClient) Route(peer wire.PeerID) (wire.PeerID, bool)   { return c.n.relayOf(peer) }
func (c relayClient) SetRoute(peer wire.PeerID, r traversal.Relay) { c.n.useRelay(peer, r.(*link)) }
func (c relayClient) SendCredit(peer wire.PeerID, size int)        { c.n.sendFuel(peer, size) }
func (c relayClient) CheckRelays(peer wire.PeerID)                 { c.n.checkRelays(peer) }
func (c relayClient) CheckRelay(r traversal.Relay) error           { return c.n.checkLink(r.(*link)) }
func (c relayClient) ConfirmRoute(peer wire.PeerID, r traversal.Relay) {
	c.n.provenRelay(peer, r.(*link))
}

const (
	relayEvery  = time.Second // how often to ping a relay that carries a conversation
	relayAnswer = time.Second // the longest wait for its answer
)

var errVirtualRelay = errors.New("a peer that is itself reached through a relay cannot relay")

// relayLink returns the link to a relay, dialled at its own addresses.
func (n *Node) relayLink(ctx context.Context, relay wire.PeerID) (*link, error) {
	n.relayDials.add(relay, 1)
	defer n.relayDials.add(relay, -1)
	l, err := n.reach(ctx, relay)
	if err == nil && l.conn.Virtual() {
		err = errVirtualRelay
	}
	return l, err
}

func (n *Node) rttTo(l *link) time.Duration {
	if rtt := l.conn.Stats().SmoothedRTT; rtt > 0 {
		return min(rtt, time.Second)
	}
	return 100 * time.Millisecond
}

// relayDials counts the dials of peers that should relay, which must not be called through a relay
// themselves. The zero value is empty; goroutines may share it.
type relayDials struct {
	mu sync.Mutex
	of map[wire.PeerID]int
}

func (d *relayDials) add(id wire.PeerID, k int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.of == nil {
		d.of = make(map[wire.PeerID]int)
	}
	if d.of[id] += k; d.of[id] <= 0 {
		delete(d.of, id)
	}
}

func (d *relayDials) has(id wire.PeerID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.of[id] > 0
}
