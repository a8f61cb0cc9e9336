package node

import (
	"context"
	"time"

	"github.com/kadquic/kadquic/internal/relay/client"
	"github.com/kadquic/kadquic/internal/traversal"
	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

// newSessions makes the sessions with peers that are called through relays, for New.
func (n *Node) newSessions() *traversal.Sessions {
	return traversal.New(traversal.Config{
		Key:        n.config.Key,
		Host:       sessionHost{n},
		Relays:     sessionRelays{n.relays},
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
	if !n.sessions.Upgrade(ctx, id, n.wanted.Since(id, time.Now()), n.relays.RelaysOf(id)) {
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

// sessionRelays is the relay client as the sessions see it.
type sessionRelays struct{ *client.Client }

func (c sessionRelays) Connect(ctx context.Context, relay wire.PeerID) (traversal.Relay, error) {
	l, err := c.Client.Connect(ctx, relay)
	if err != nil {
		return nil, err
	}
	return l.(relayLink).link, nil
}

func (c sessionRelays) Recover(r traversal.Relay, err error) bool {
	if !isRetryable(err) {
		return false
	}
	r.(*link).closeFor(err)
	return true
}

func (c sessionRelays) SetRoute(peer wire.PeerID, r traversal.Relay) {
	c.Client.SetRoute(peer, relayLink{r.(*link)})
}

func (c sessionRelays) ConfirmRoute(peer wire.PeerID, r traversal.Relay) {
	c.Client.ConfirmRoute(peer, relayLink{r.(*link)})
}

func (c sessionRelays) CheckRelay(r traversal.Relay) error {
	return c.Client.CheckRelay(relayLink{r.(*link)})
}
