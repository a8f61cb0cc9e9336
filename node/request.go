package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kadquic/kadquic/internal/swarm"
	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

// request sends one request to a peer and returns its reply, and the link that it arrived by. If
// the connection ends without a fault of the peer, request replaces it once. It reports
// answers and silence to the routing table; a caller that stops waiting reports nothing.
func (n *Node) request(ctx context.Context, id wire.PeerID, m wire.Message) (*link, wire.Message, error) {
	for try := 0; ; try++ {
		l, err := n.link(ctx, id)
		if err == nil {
			var reply wire.Message
			var rtt time.Duration
			n.counters.sent.count(m)
			l.conn.Touch()
			if reply, rtt, err = l.Call(ctx, m); err == nil {
				n.answered(l, m, rtt)
				if _, ok := reply.(wire.Error); ok {
					return l, nil, unexpected(id, reply)
				}
				if err := breaksRule(m, reply); err != nil {
					return l, nil, fmt.Errorf("peer %s: %w", id, err)
				}
				return l, reply, nil
			}
		}
		if try == 0 && ctx.Err() == nil && isRetryable(err) {
			l.closeFor(err)
			continue
		}
		if errors.Is(err, swarm.ErrNoAnswer) || try > 0 && errors.Is(err, swarm.ErrStalled) { // a fresh connection is not stuck by chance
			n.failed(id)
		}
		return nil, nil, err
	}
}

// isRetryable reports whether a request failed only because its connection was
// idle, merged with another, closed by us, or held up by streams, just then.
func isRetryable(err error) bool {
	var closed *quic.CloseError
	if errors.As(err, &closed) {
		return closed.Code == wire.CloseIdle || closed.Code == wire.CloseDuplicate
	}
	return errors.Is(err, swarm.ErrStalled) || errors.Is(err, swarm.ErrConnClosed) && !errors.Is(err, ErrClosed)
}

// answered notes that a peer is alive, and how long it took.
func (n *Node) answered(l *link, m wire.Message, rtt time.Duration) {
	l.observe(m, rtt)
	l.ref.MarkAnswered()
	if l.IsServer() {
		n.seen(l, time.Now())
	}
}

// breaksRule returns an error for a reply that its request does not allow. Package wire refuses
// replies that no request allows.
func breaksRule(request, reply wire.Message) error {
	switch m := request.(type) {
	case wire.FindValue:
		if v, ok := reply.(wire.Value); ok && !m.All && len(v.Records) > wire.MaxRecords {
			return fmt.Errorf("%d records in VALUE, want at most %d", len(v.Records), wire.MaxRecords)
		}
	case wire.Store:
		if s, ok := reply.(wire.Stored); ok && len(s.Results) != len(m.Records) {
			return fmt.Errorf("%d results of STORE for %d records", len(s.Results), len(m.Records))
		}
	}
	return nil
}

// unexpected is the error for a reply of another type than the request's.
func unexpected(id wire.PeerID, m wire.Message) error {
	if e, ok := m.(wire.Error); ok {
		return &RemoteError{id, e.Code, e.Message}
	}
	return fmt.Errorf("peer %s answered with %T, which is no answer to the request", id, m)
}

// seen enters a peer into the routing table, or moves it to the tail of its bucket (Kademlia
// §2.2). It sends at most one ping, if the bucket is full and its oldest contact has been
// silent for long.
func (n *Node) seen(l *link, now time.Time) {
	c := l.ref.Contact()
	change := n.routes.Seen(c, now)
	if change.joined {
		n.peerEvent(PeerEvent{Peer: l.id, Addr: l.at, Joined: true, Peers: change.len})
	} else if change.back {
		n.peerEvent(PeerEvent{Peer: l.id, Addr: l.at, Back: true, Peers: change.len})
	}
	if change.probe != nil {
		n.probe(change.probe.ID)
	}
}

// heardFrom is seen for a peer that sent something without being asked. That suffices for a
// newcomer. A contact that has left a request unanswered must answer one first; heardFrom then
// returns false.
func (n *Node) heardFrom(l *link, now time.Time) bool {
	marked := n.routes.IsMarked(l.key)
	if !marked {
		n.seen(l, now)
	}
	return !marked
}

// failed notes that a peer did not answer.
func (n *Node) failed(id wire.PeerID) {
	if n.ctx.Err() != nil { // this node is closing
		return
	}
	key := n.refs.Of(id).Key
	change := n.routes.Failed(key, time.Now())
	if change.left {
		n.peerEvent(PeerEvent{Peer: id, Peers: change.len})
	} else if change.silent {
		n.peerEvent(PeerEvent{Peer: id, Silent: true, Peers: change.len})
	}
	if change.promoted != nil {
		n.peerEvent(PeerEvent{Peer: change.promoted.ID, Joined: true, Peers: change.len})
	}
}

// forget removes a peer from the table, because it leaves or has become a client.
func (n *Node) forget(id wire.PeerID) {
	if change := n.routes.Remove(n.refs.Of(id).Key); change.left {
		n.peerEvent(PeerEvent{Peer: id, Peers: change.len})
	}
}

func (n *Node) peerEvent(e PeerEvent) {
	if t := n.config.Trace; t != nil && t.Peer != nil {
		t.Peer(e)
	}
}

// probe pings a peer in the background; the table hears the outcome. When many
// are being pinged it is left for the next time.
func (n *Node) probe(id wire.PeerID) {
	n.probes.TryGo(func() {
		ctx, cancel := context.WithTimeout(n.ctx, n.config.RPCTimeout)
		defer cancel()
		n.ping(ctx, id)
	})
}

// ping pings a peer. The table hears the outcome.
func (n *Node) ping(ctx context.Context, id wire.PeerID) {
	_, _, err := n.request(ctx, id, wire.Ping{})
	_, answered := errors.AsType[*RemoteError](err)
	noRoom := errors.Is(err, quic.ErrBusy) // ours; where it is the peer's, dial has said so
	if err != nil && !answered && !noRoom {
		n.failed(id)
	}
}

// Ping asks a peer whether it is there, and returns how long that took: the
// round trip over an open connection, without the time to open it.
func (n *Node) Ping(ctx context.Context, id wire.PeerID) (time.Duration, error) {
	if err := n.ready(ctx); err != nil {
		return 0, err
	}
	for try := 0; ; try++ {
		l, err := n.reach(ctx, id)
		if err != nil {
			return 0, fmt.Errorf("ping: %w", err)
		}
		n.counters.sent.count(wire.Ping{})
		l.conn.Touch()
		m, rtt, err := l.Call(ctx, wire.Ping{})
		if err != nil {
			if try == 0 && ctx.Err() == nil && isRetryable(err) {
				l.closeFor(err)
				continue
			}
			return 0, fmt.Errorf("ping %s: %w", id, err)
		}
		n.answered(l, wire.Ping{}, rtt)
		if _, ok := m.(wire.Pong); !ok {
			return 0, fmt.Errorf("ping: %w", unexpected(id, m))
		}
		return rtt, nil
	}
}
