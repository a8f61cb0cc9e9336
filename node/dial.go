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
	maxDialAddrs = 4 // tried per peer
	dialStagger  = 250 * time.Millisecond

	// dialLinger is how long a dial goes on that nobody waits for any more. Lookups
	// do not wait for strangers who do not answer, but are to be rid of them: a
	// handshake takes one round trip, and its first packet may be lost once.
	dialLinger = 2 * time.Second
)

// dial makes a connection for the pool: the peer's best addresses, each a
// little later than the one before it, the first that authenticates wins.
func (n *Node) dial(ctx context.Context, key quic.PublicKey) (*quic.Conn, error) {
	id := wire.PeerID(key)
	relays := n.relaysOf(id)
	if n.agents.isToRelay(id) {
		relays = nil
	}
	if err := n.backoff.check(id, time.Now()); err != nil && len(relays) == 0 { // that it was not dialled says nothing of a call
		return nil, &unreachableError{id, []error{err}}
	}
	targets, nowhere := n.dialTargets(ctx, id)
	c, causes := n.callOrRace(ctx, id, relays, targets)
	switch {
	case c != nil:
		return c, nil
	case n.ctx.Err() != nil:
		return nil, ErrClosed
	case ctx.Err() != nil && !hadItsTime(ctx): // by the pool: the peer's own dial came first, or nobody waits
		return nil, context.Cause(ctx)
	}
	if len(targets)+len(relays) > 0 { // otherwise who names it next may know where it is
		n.backoff.failed(id, time.Now())
	}
	n.failed(id)
	return nil, &unreachableError{id, append(nowhere, causes...)}
}

// hadItsTime reports whether a dial ended because nobody answered for as long as the
// pool gives it.
func hadItsTime(ctx context.Context) bool {
	return errors.Is(ctx.Err(), context.DeadlineExceeded) || errors.Is(context.Cause(ctx), quic.ErrTimeout)
}

// callOrRace calls a peer that has relays, and dials any other. If the call fails or
// takes long, the peer is dialled, too: it may be where it needs none. If the user
// tells of relays while the peer is being dialled, it is called, too.
func (n *Node) callOrRace(ctx context.Context, id wire.PeerID, relays []wire.PeerID, targets []dialTarget) (*quic.Conn, []error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		conn *quic.Conn
		errs []error
	}
	results := make(chan result, 2)
	running, called, raced := 0, false, len(targets) == 0
	call := func() {
		called = true
		running++
		relays := relays // as known now: there may be others later
		go func() {
			c, err := n.dialCalled(ctx, id, relays)
			results <- result{c, []error{err}}
		}()
	}
	race := func() {
		if !raced {
			raced = true
			running++
			go func() {
				c, errs := n.race(ctx, id, targets)
				results <- result{c, errs}
			}()
		}
	}
	news := n.relays.news()
	var late <-chan time.Time
	if len(relays) > 0 {
		call()
		timer := time.NewTimer(plainAfter)
		defer timer.Stop()
		late = timer.C
	} else {
		race()
	}
	var won *quic.Conn
	var causes []error
	for running > 0 {
		select {
		case <-late:
			race()
		case <-news:
			news = n.relays.news()
			relays = n.relaysOf(id)
			if !called && won == nil && len(relays) > 0 && !n.agents.isToRelay(id) {
				call()
			}
		case r := <-results:
			running--
			switch {
			case r.conn == nil:
				causes = append(causes, r.errs...)
				if won == nil {
					race()
				}
			case won == nil:
				won, called, raced = r.conn, true, true
				cancel()
			default:
				r.conn.Close(wire.CloseDuplicate, "")
			}
		}
	}
	return won, causes
}

// A dialTarget is a socket address and the multiaddr it came from.
type dialTarget struct {
	addr netip.AddrPort
	from wire.Addr
}

// dialTargets returns the peer's addresses, best first, names resolved, and why
// some names are not.
func (n *Node) dialTargets(ctx context.Context, id wire.PeerID) (targets []dialTarget, failed []error) {
	for _, a := range n.peers.AppendAddrs(nil, id, time.Now()) {
		if ap, ok := a.AddrPort(); ok {
			targets = append(targets, dialTarget{ap, a})
		} else if resolved, err := quic.Resolve(ctx, wire.JoinPeer(a, id)); err == nil {
			for _, ap := range resolved {
				targets = append(targets, dialTarget{ap, a})
			}
		} else {
			n.config.Logger.Info("cannot resolve", "peer", id, "addr", a, "err", err)
			n.peers.Failure(id, a, time.Now())
			failed = append(failed, err)
		}
		if len(targets) >= maxDialAddrs {
			return targets[:maxDialAddrs], failed
		}
	}
	return targets, failed
}

// race dials the targets, staggered, and returns the first connection, or why
// there is none.
func (n *Node) race(ctx context.Context, id wire.PeerID, targets []dialTarget) (*quic.Conn, []error) {
	if len(targets) == 1 { // nearly always
		c, err := n.dialOne(ctx, id, targets[0])
		if err != nil {
			return nil, []error{err}
		}
		return c, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type attempt struct {
		conn *quic.Conn
		err  error
	}
	attempts := make(chan attempt, len(targets))
	var causes []error
	started, ended := 0, 0
	for ended < len(targets) {
		var next <-chan time.Time
		var timer *time.Timer
		if started < len(targets) {
			wait := dialStagger
			if started == ended { // nothing under way
				wait = 0
			}
			timer = time.NewTimer(wait)
			next = timer.C
		}
		select {
		case <-next:
			t := targets[started]
			started++
			go func() {
				c, err := n.dialOne(ctx, id, t)
				attempts <- attempt{c, err}
			}()
		case a := <-attempts:
			ended++
			if a.err == nil {
				cancel()
				for ; ended < started; ended++ { // losers
					if late := <-attempts; late.conn != nil {
						late.conn.Close(wire.CloseDuplicate, "")
					}
				}
				return a.conn, nil
			}
			causes = append(causes, a.err)
		}
		if timer != nil {
			timer.Stop()
		}
	}
	return nil, causes
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
