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

const (
	maxDialAddrs = 4                      // tried per peer, of those known when the dial begins
	dialStagger  = 250 * time.Millisecond // RFC 8305 §8, Connection Attempt Delay

	// dialLinger is how long a dial goes on that nobody waits for any more. Lookups
	// do not wait for strangers who do not answer, but are to be rid of them: a
	// handshake takes one round trip, and its first packet may be lost once.
	dialLinger = 2 * time.Second
)

// dial makes a connection for the pool. It races the peer's addresses and relays, also
// those that become known while it lasts; the first that authenticates wins.
func (n *Node) dial(ctx context.Context, key quic.PublicKey) (*quic.Conn, error) {
	id := wire.PeerID(key)
	if err := n.backoff.Check(id, time.Now()); err != nil && len(n.callableBy(id)) == 0 { // that it was not dialled says nothing of a call
		return nil, &unreachableError{id, []error{err}}
	}
	n.wanted.AddDial(id)
	defer n.wanted.RemoveDial(id)
	c, tried, causes := n.race(ctx, id)
	switch {
	case c != nil:
		return c, nil
	case n.ctx.Err() != nil:
		return nil, ErrClosed
	case ctx.Err() != nil && !hadItsTime(ctx): // by the pool: the peer's own dial came first, or nobody waits
		return nil, context.Cause(ctx)
	}
	if tried { // otherwise who names it next may know where it is
		n.backoff.Failed(id, time.Now())
	}
	n.failed(id)
	return nil, &unreachableError{id, causes}
}

// callableBy returns the relays through which a peer may be called. A peer that is
// itself wanted as a relay is dialled only.
func (n *Node) callableBy(id wire.PeerID) []wire.PeerID {
	if n.relayDials.has(id) {
		return nil
	}
	return n.relaysOf(id)
}

// hadItsTime reports whether a dial ended because nobody answered for as long as the
// pool gives it.
func hadItsTime(ctx context.Context) bool {
	return errors.Is(ctx.Err(), context.DeadlineExceeded) || errors.Is(context.Cause(ctx), quic.ErrTimeout)
}

func (n *Node) dialOne(ctx context.Context, id wire.PeerID, t dialTarget) (*quic.Conn, error) {
	transport := n.transportFor(t.addr.Addr())
	if transport == nil {
		return nil, errors.New("no socket of ours reaches " + t.addr.String())
	}
	n.self.SendsTo(t.addr, time.Now())
	c, err := transport.Dial(ctx, t.addr, quic.PublicKey(id))
	if err != nil {
		if wrong, ok := errors.AsType[*quic.KeyError](err); ok { // by the name that users know
			err = fmt.Errorf("dial %v: %w: it is peer %s", t.addr, ErrWrongPeer, wire.PeerID(wrong.Got))
		}
		if ctx.Err() == nil || hadItsTime(ctx) {
			n.peers.Failure(id, t.from, time.Now())
		}
		return nil, err
	}
	return c, nil
}

// transportFor picks the socket from which an address can be reached: one of
// its family that is not bound to loopback, unless the address is.
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
