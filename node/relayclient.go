package node

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/kadquic/kadquic/internal/peerref"
	"github.com/kadquic/kadquic/internal/relay/client"
	"github.com/kadquic/kadquic/internal/swarm"
	"github.com/kadquic/kadquic/wire"
)

// newRelayClient makes the node's own use of relays: its reservations, and its routes to
// peers.
func (n *Node) newRelayClient() *client.Client {
	return client.New(client.Config{
		Self:        n.id,
		Host:        relayHost{n},
		Background:  n.background,
		Logger:      n.config.Logger,
		RPCTimeout:  n.config.RPCTimeout,
		NoAnswer:    swarm.ErrNoAnswer,
		Stalled:     swarm.ErrStalled,
		Unreachable: ErrUnreachable,
		Closed:      ErrClosed,
		Unexpected:  unexpected,
	})
}

// relayHost is the node as its relay client sees it.
type relayHost struct{ n *Node }

// WantsRelays reports whether peers need a relay to reach the node: it has become a client because
// strangers do not reach it, or it seems to be behind a NAT or a firewall and no stranger has
// connected. A node that is configured as a client wants relays once it listens for an
// application's protocol, because peers could not reach it otherwise. One that is configured
// as a server never does.
func (h relayHost) WantsRelays() bool {
	n := h.n
	switch {
	case n.config.Mode == ModeServer:
		return false
	case n.config.Mode == ModeClient:
		n.listenersMu.Lock()
		defer n.listenersMu.Unlock()
		return len(n.listeners) > 0
	case n.mode() == wire.ModeClient:
		return true
	}
	sum := n.self.Sum(time.Now())
	return sum.NATed || sum.Doubt && !sum.Yes && !sum.Hope
}

func (h relayHost) IsIsolated() bool { return h.n.joiner.IsIsolated() }

func (h relayHost) Nearest(ctx context.Context) ([]*peerref.Ref, error) {
	out, err := h.n.lookups.Nodes(ctx, "relays", h.n.key)
	if err != nil {
		return nil, err
	}
	var near []*peerref.Ref
	for c := range out.Closest() {
		near = append(near, c.Addr)
	}
	return near, nil
}

func (h relayHost) Connect(ctx context.Context, id wire.PeerID) (client.Link, error) {
	return asRelayLink(h.n.link(ctx, id))
}

func (h relayHost) Reach(ctx context.Context, id wire.PeerID) (client.Link, error) {
	return asRelayLink(h.n.reach(ctx, id))
}

func (h relayHost) IsConnected(id wire.PeerID) bool {
	_, ok := h.n.pool.Lookup(publicKey(id))
	return ok
}

func (h relayHost) IsRelayed(id wire.PeerID) bool {
	is, _ := h.n.pool.Virtual(publicKey(id))
	return is
}

func (h relayHost) IsInUse(l client.Link) bool {
	c, ok := h.n.pool.Lookup(publicKey(l.ID()))
	return ok && c == l.(relayLink).Conn()
}

func (h relayHost) Retire(l client.Link) bool {
	c := l.(relayLink).Conn()
	if !h.IsInUse(l) || c.Retired() {
		return false
	}
	h.n.pool.Retire(c)
	return true
}

func (h relayHost) ReadDatagrams(l client.Link) { l.(relayLink).readDatagrams() }

func (h relayHost) Deliver(peer wire.PeerID, packet []byte) {
	h.n.callSocket().Deliver(publicKey(peer), packet)
}

func (h relayHost) AddCredit(peer wire.PeerID, size int) { h.n.sessions.AddCredit(peer, size) }

func (h relayHost) Answered(l client.Link, request wire.Message, rtt time.Duration) {
	h.n.answered(l.(relayLink).link, request, rtt)
}

func (h relayHost) Ping(id wire.PeerID) { h.n.probe(id) }

func (h relayHost) RelaysInRecord(id wire.PeerID) []wire.PeerID {
	r := h.n.recordOf(id, time.Now())
	if r == nil {
		return nil
	}
	info, err := r.Record.PeerInfo()
	if err != nil {
		return nil
	}
	return slices.Clone(info.Relays)
}

// ReservationsChanged has the peer record name the relays, and published.
func (h relayHost) ReservationsChanged() {
	h.n.record.recheck()
	select {
	case h.n.publishing <- struct{}{}:
	default:
	}
}

func (h relayHost) AllowCall(l client.Link, now time.Time) bool {
	return l.(relayLink).quota.Calls.AllowN(now, 1)
}

func (h relayHost) Answer(l client.Link, call wire.Call) (wire.Message, wire.Code) {
	called, err := h.n.sessions.Answer(l.(relayLink).link, call)
	var code wire.Code
	switch {
	case err == nil:
		return called, wire.CodeOK
	case errors.As(err, &code) && code != wire.CodeOK:
		return nil, code
	case errors.Is(err, ErrBusy):
		return nil, wire.CodeBusy
	case errors.Is(err, ErrUnreachable):
		return nil, wire.CodeUnreachable
	}
	return nil, wire.CodeInternal
}
