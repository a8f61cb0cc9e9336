package node

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/kadquic/kadquic/peerstore"
	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

const (
	handshakeTimeout = 5 * time.Second
	maxDialAddrs     = 4 // tried per peer
	dialStagger      = 250 * time.Millisecond
)

// links is the set of all links. The pool says which connection is a peer's,
// and the connection's Value which link.
type links struct {
	mu sync.Mutex
	of map[*link]struct{}
}

func (ls *links) add(l *link) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.of[l] = struct{}{}
}

func (ls *links) remove(l *link) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	delete(ls.of, l)
}

func (ls *links) all() []*link {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	all := make([]*link, 0, len(ls.of))
	for l := range ls.of {
		all = append(all, l)
	}
	return all
}

// link returns the peer's link, dialling if there is none. Callers who want the
// same peer at once share one dial.
func (n *Node) link(ctx context.Context, id wire.PeerID) (*link, error) {
	if id == n.id {
		return nil, errors.New("a node does not connect to itself")
	}
	c, connected := n.pool.Lookup(quic.PublicKey(id))
	start := time.Now()
	if !connected {
		var err error
		if c, err = n.pool.Get(ctx, quic.PublicKey(id)); err != nil {
			if n.ctx.Err() != nil {
				err = ErrClosed
			}
			return nil, err
		}
	}
	l := c.Value.(*link)
	select {
	case <-l.up:
		if !connected && l.err == nil {
			n.dialRTT.observe(time.Since(start))
		}
		return l, l.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// linked enters a peer that has said HELLO into what we know.
func (n *Node) linked(l *link) {
	now := time.Now()
	n.backoff.clear(l.id)
	source := peerstore.SourceObserved
	if l.conn.Dialled() {
		source = peerstore.SourceDialled
	}
	n.peers.Add(l.id, source, now, 0, l.at)
	n.verified(l.known)
	if !n.hello(l, l.hello, now) {
		n.probe(l.id)
	}
}

// hello takes in what a peer says of itself, when the link begins and whenever
// it changes. It returns false if the peer has still to show that it answers.
func (n *Node) hello(l *link, h wire.Hello, now time.Time) bool {
	l.mode.Store(uint32(h.Mode))
	n.peers.SetMode(l.id, h.Mode)
	n.peers.SetAgent(l.id, h.Agent)
	if r := h.Record; r != nil && r.Record.Kind == wire.KindPeer && r.Record.Publisher == l.id {
		n.peers.SetRecord(l.id, r) // about itself; who is told of it verifies
	}
	if !h.Clock.IsZero() {
		n.skew.observe(l.id, h.Clock.Sub(now))
	}
	n.observed(h.Observed, l.addr)
	if l.isServer() {
		return n.heardFrom(l, now)
	}
	n.forget(l.id)
	return true
}

// notLinked notes that no HELLO came back. Until one has, a dial has not
// succeeded: a peer that refuses is as good as none, and is not to be tried
// again by every lookup.
func (n *Node) notLinked(l *link, err error) {
	n.config.Logger.Debug("no hello", "peer", l.id, "addr", l.addr, "err", err)
	if !l.conn.Dialled() || n.ctx.Err() != nil || innocent(err) {
		return
	}
	now := time.Now()
	n.backoff.failed(l.id, now)
	n.peers.Failure(l.id, l.at, now)
	n.failed(l.id)
}

// verified brings up to date what we tell others of where a peer is.
func (n *Node) verified(k *known) {
	at := n.peers.AppendVerified(nil, k.id)
	at = at[:min(len(at), wire.MaxAddrs)]
	k.at.Store(&at)
}

// unlinked notes that a link has ended. A peer that says it leaves is gone from
// the table at once.
func (n *Node) unlinked(l *link, err error) {
	if rtt := l.rtt.get(); rtt.Known() {
		n.peers.ObserveRTT(l.id, rtt.Smoothed())
	}
	var closed *quic.CloseError
	if errors.As(err, &closed) && closed.Remote && closed.Code == wire.CloseLeaving {
		n.forget(l.id)
	}
	n.config.Logger.Debug("link ended", "peer", l.id, "addr", l.addr, "err", err)
}

// dial makes a connection for the pool: the peer's best addresses, each a
// little later than the one before it, the first that authenticates wins.
func (n *Node) dial(ctx context.Context, key quic.PublicKey) (*quic.Conn, error) {
	id := wire.PeerID(key)
	if err := n.backoff.check(id, time.Now()); err != nil {
		return nil, &unreachableError{id, []error{err}}
	}
	targets, nowhere := n.dialTargets(ctx, id)
	c, causes := n.race(ctx, id, targets)
	switch {
	case c != nil:
		return c, nil
	case n.ctx.Err() != nil:
		return nil, ErrClosed
	case errors.Is(ctx.Err(), context.Canceled): // by the pool: the peer's own dial came first
		return nil, context.Cause(ctx)
	}
	if len(targets) > 0 { // otherwise who names it next may know where it is
		n.backoff.failed(id, time.Now())
	}
	n.failed(id)
	return nil, &unreachableError{id, append(nowhere, causes...)}
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
		} else if resolved, err := quic.Resolve(ctx, a.Multiaddr()); err == nil {
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
	c, err := transport.Dial(ctx, t.addr, quic.PublicKey(id))
	if err != nil {
		if wrong, ok := errors.AsType[*quic.KeyError](err); ok { // by the name that users know
			err = fmt.Errorf("dial %v: %w: it is peer %s", t.addr, ErrWrongPeer, wire.PeerID(wrong.Got))
		}
		if ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded) {
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
	for _, t := range n.transports {
		local := t.LocalAddr().Addr()
		switch {
		case local.IsUnspecified() && (local.Is6() || to.Is4()):
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

// learn notes addresses that teller says a peer has. A peer that we did not
// ourselves reach on loopback, or in a private network, cannot make us dial
// there, nor give us names to resolve, which may mean any address.
func (n *Node) learn(teller netip.Addr, c wire.Contact, now time.Time) {
	if c.ID == n.id {
		return
	}
	keep := make([]wire.Addr, 0, len(c.Addrs))
	for _, a := range c.Addrs {
		if ap, ok := a.AddrPort(); ok && mayTell(teller, ap.Addr()) {
			keep = append(keep, a)
		}
	}
	if len(keep) > 0 {
		n.peers.Add(c.ID, peerstore.SourceTold, now, toldTTL, keep...)
	}
}

// toldTTL is how long an address that we only heard of is remembered.
const toldTTL = 30 * time.Minute
