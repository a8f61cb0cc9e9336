package node

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

// dialLinger is how long a dial continues after its last caller has left. Lookups do not
// wait for unknown peers that do not answer, but must learn which these are: a handshake takes
// one round trip, and its first packet may be lost once.
const dialLinger = 2 * time.Second

// dial makes a connection for the pool, by any of the peer's addresses and relays.
func (n *Node) dial(ctx context.Context, key quic.PublicKey) (*quic.Conn, error) {
	id := wire.PeerID(key)
	if err := n.backoff.Check(id, time.Now()); err != nil && len(n.callableBy(id)) == 0 { // a call may succeed where a direct dial failed
		return nil, &unreachableError{id, []error{err}}
	}
	n.wanted.AddDial(id)
	defer n.wanted.RemoveDial(id)
	c, tried, causes := n.dialer.Dial(ctx, id)
	switch {
	case c != nil:
		return c, nil
	case n.ctx.Err() != nil:
		return nil, ErrClosed
	case ctx.Err() != nil && !hadItsTime(ctx): // cancelled by the pool: the peer's own dial came first, or no caller waits
		return nil, context.Cause(ctx)
	}
	if tried { // otherwise the next referral may bring an address
		n.backoff.Failed(id, time.Now())
	}
	n.failed(id)
	return nil, &unreachableError{id, causes}
}

// callableBy returns the relays through which a peer may be called. There are none for a
// peer that the node dials to use as a relay: such a peer must be reachable directly.
func (n *Node) callableBy(id wire.PeerID) []wire.PeerID {
	if n.relays.IsConnecting(id) {
		return nil
	}
	return n.relays.RelaysOf(id)
}

// hadItsTime reports whether a dial ended because the peer did not answer within the
// pool's time limit.
func hadItsTime(ctx context.Context) bool {
	return errors.Is(ctx.Err(), context.DeadlineExceeded) || errors.Is(context.Cause(ctx), quic.ErrTimeout)
}

// dialHost is the node as its dialer sees it.
type dialHost struct{ n *Node }

func (h dialHost) Addrs(id wire.PeerID) []wire.Addr             { return h.n.dialAddrs(id) }
func (h dialHost) HasDialled(id wire.PeerID, at wire.Addr) bool { return h.n.hasDialled(id, at) }
func (h dialHost) Relays(id wire.PeerID) []wire.PeerID          { return h.n.callableBy(id) }

func (h dialHost) Call(ctx context.Context, id wire.PeerID, relays <-chan wire.PeerID) (*quic.Conn, error) {
	return h.n.sessions.Dial(ctx, id, h.n.wanted.Since(id, time.Now()), relays)
}

func (h dialHost) ResolveFailed(id wire.PeerID, a wire.Addr, err error) {
	h.n.config.Logger.Info("cannot resolve", "peer", id, "addr", a, "err", err)
	h.n.peers.Failure(id, a, time.Now())
}

func (h dialHost) Dial(ctx context.Context, id wire.PeerID, to netip.AddrPort, from wire.Addr) (*quic.Conn, error) {
	n := h.n
	transport := n.transportFor(to.Addr())
	if transport == nil {
		return nil, errors.New("no socket of ours reaches " + to.String())
	}
	n.self.MarkContacted(to, time.Now())
	c, err := transport.Dial(ctx, to, quic.PublicKey(id))
	if err != nil {
		if wrong, ok := errors.AsType[*quic.KeyError](err); ok { // name the key by the peer ID that users know
			err = fmt.Errorf("dial %v: %w: it is peer %s", to, ErrWrongPeer, wire.PeerID(wrong.Got))
		}
		if ctx.Err() == nil || hadItsTime(ctx) {
			n.peers.Failure(id, from, time.Now())
		}
		return nil, err
	}
	return c, nil
}

// transportFor picks a socket that can reach an address: a socket of its family that is
// bound to loopback only if the address is. It returns nil if there is none.
func (n *Node) transportFor(to netip.Addr) *quic.Transport {
	var fallback *quic.Transport
	for i, t := range n.transports {
		local := t.LocalAddr().Addr()
		switch {
		case local.IsUnspecified() && (local.Is6() && !n.ipv6Only[i] || local.Is4() == to.Is4()):
			return t
		case local.Is4() != to.Is4():
		case local.IsLoopback() == to.IsLoopback():
			return t
		default:
			fallback = t
		}
	}
	return fallback
}
