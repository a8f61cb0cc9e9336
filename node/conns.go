package node

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/kadquic/kadquic/internal/peerref"
	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/peerstore"
	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

// handshakeTimeout bounds the exchange of HELLO on a new connection.
const handshakeTimeout = 5 * time.Second

// links is the set of all links. The pool maps a peer to its connection, and the
// connection's Value is the link.
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

// drop forgets a link that has ended.
func (n *Node) drop(l *link) {
	n.links.remove(l)
	n.quotas.Release(l.id, time.Now())
}

// link returns the peer's link, dialling if there is none. Concurrent requests for
// one peer share one dial.
func (n *Node) link(ctx context.Context, id wire.PeerID) (*link, error) {
	return n.linkTo(ctx, id, forRequests)
}

// What a link is wanted for. To a callee, streams are opened before HELLO: it has
// agreed to the call, and TLS has proved its key.
const (
	forRequests = iota
	forStream
)

func (n *Node) linkTo(ctx context.Context, id wire.PeerID, wants int) (*link, error) {
	if id == n.id {
		return nil, errors.New("a node does not connect to itself")
	}
	if !id.IsValid() {
		return nil, fmt.Errorf("peer %x: %w", id[:], wire.ErrPeerID)
	}
	c, connected := n.pool.Lookup(quic.PublicKey(id))
	connected = connected && !c.Retired()
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
	var ready chan struct{}
	if c.Virtual() && wants == forStream {
		ready = l.ready
	}
	select {
	case <-ready:
		return l, nil
	case <-l.up:
		if !connected && l.err == nil && !c.Retired() {
			n.dialRTT.Observe(time.Since(start))
		}
		return l, l.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// linked enters a peer into the peerstore and the routing table, once its HELLO has
// arrived. It enters a dial-back probe in neither.
func (n *Node) linked(l *link) {
	now := time.Now()
	if l.isDialBackProbe() {
		n.onInbound(l, now)
		return
	}
	n.backoff.Clear(l.id)
	source := peerstore.SourceObserved
	if l.conn.Dialled() {
		source = peerstore.SourceDialled
	}
	if l.at != "" {
		n.peers.Add(l.id, source, now, 0, l.at)
	}
	n.verified(l.ref)
	back := n.hello(l, l.hello, now)
	n.onInbound(l, now)
	if !back {
		n.probe(l.id)
	}
	n.connEvent(l, false, nil)
	n.config.Logger.Info("connected", "peer", l.id, "path", l.conn.Path(), "dialled", l.conn.Dialled(), "agent", l.hello.Agent)
	n.relays.MigrateReservation(relayLink{l})
	if l.IsServer() {
		n.seekOtherFamily(l.ref)
	}
}

// hello handles a peer's HELLO: the first one and each update. It returns false for a
// contact that has left a request unanswered and must answer one first.
func (n *Node) hello(l *link, h wire.Hello, now time.Time) bool {
	l.mode.Store(uint32(h.Mode))
	n.peers.SetMode(l.id, h.Mode)
	n.peers.SetAgent(l.id, h.Agent)
	if r := h.Record; r != nil && r.Record.Kind == wire.KindPeer && r.Record.Publisher == l.id {
		n.setRecord(l.id, r, now) // recordOf verifies it before the node passes it on
	}
	if !h.Clock.IsZero() && l.conn.Dialled() {
		n.skew.observe(l.id, l.addr.Addr(), h.Clock.Sub(now), now)
	}
	n.observed(l, h.Observed)
	if l.IsServer() {
		return n.heardFrom(l, now)
	}
	n.forget(l.id)
	return true
}

// notLinked records that no HELLO arrived. A dial succeeds only with HELLO: the node
// treats a peer that refuses like an unreachable one, so that not every lookup tries
// it again.
func (n *Node) notLinked(l *link, err error) {
	n.config.Logger.Debug("no hello", "peer", l.id, "path", l.conn.Path(), "err", err)
	closed, ok := errors.AsType[*quic.CloseError](err)
	if !l.conn.Dialled() || n.ctx.Err() != nil || isRetryable(err) || ok && !closed.Remote {
		return
	}
	now := time.Now()
	n.backoff.Failed(l.id, now)
	if l.at != "" {
		n.peers.Failure(l.id, l.at, now)
	}
	n.failed(l.id)
}

// verified updates the addresses of a peer that this node tells others: those at which
// it has authenticated the peer.
func (n *Node) verified(k *peerref.Ref) {
	at := n.peers.AppendVerified(nil, k.ID)
	at = at[:min(len(at), wire.MaxAddrs)]
	before := k.Addrs()
	k.SetAddrs(at)
	if len(before) == 0 || len(at) == 0 || before[0] == at[0] {
		return
	}
	if change := n.routes.Regroup(k.Contact()); change.left { // its new network has enough contacts
		n.peerEvent(PeerEvent{Peer: k.ID, Peers: change.len})
	}
}

// unlinked records that a link has ended. A peer that closes it with CloseLeaving is
// removed from the table at once.
func (n *Node) unlinked(l *link, err error) {
	n.relay.LinkEnded(relayLink{l})
	n.self.MarkContacted(l.conn.RemoteAddr(), time.Now())
	if rtt := l.rtt.Get(); rtt.Known() {
		n.peers.ObserveRTT(l.id, rtt.Smoothed())
	}
	var closed *quic.CloseError
	if errors.As(err, &closed) && closed.Remote && closed.Code == wire.CloseLeaving {
		n.forget(l.id)
	}
	if errors.Is(err, quic.ErrTimeout) && l.IsServer() { // a live peer announces that it closes an idle connection
		n.probe(l.id)
	}
	n.connEvent(l, true, err)
	n.config.Logger.Info("disconnected", "peer", l.id, "path", l.conn.Path(), "why", err)
}

// askBeforeIdleClose pings a contact whose connection is about to be closed because
// it is unused. This detects a peer that died silently at the cost of one request,
// so that no later operation waits for it.
func (n *Node) askBeforeIdleClose(c *quic.Conn) {
	l, ok := c.Value.(*link)
	if !ok || !l.IsUp() || !l.IsServer() || n.ctx.Err() != nil {
		return
	}
	asks := n.routes.IsLive(l.key)
	if !asks {
		return
	}
	ctx, cancel := context.WithTimeout(n.ctx, n.config.RPCTimeout)
	defer cancel()
	if _, _, err := l.Call(ctx, wire.Ping{}); errors.Is(err, context.DeadlineExceeded) {
		n.failed(l.id)
	}
}

// learn records addresses of a peer that another peer, at the address teller, has named.
// A teller outside this host or this private network cannot make the node dial loopback
// or private addresses. It cannot make the node resolve a host name either, which may
// resolve to any address.
func (n *Node) learn(teller netip.Addr, c wire.Contact, now time.Time) {
	if c.ID == n.id {
		return
	}
	keep := make([]wire.Addr, 0, len(c.Addrs))
	for _, a := range c.Addrs {
		if ap, ok := a.AddrPort(); ok && reach.MayTell(teller, ap.Addr()) {
			keep = append(keep, a)
		}
	}
	if len(keep) > 0 {
		n.addAddrs(c.ID, peerstore.SourceTold, now, toldTTL, keep...)
	}
}

// addAddrs enters addresses of a peer into the peerstore. If any of them is new, it
// notifies the dials that wait for addresses of the peer.
func (n *Node) addAddrs(id wire.PeerID, from peerstore.Source, now time.Time, ttl time.Duration, addrs ...wire.Addr) {
	news := false
	if n.wanted.Has(id) {
		known := n.peers.AppendAddrs(nil, id, now)
		news = slices.ContainsFunc(addrs, func(a wire.Addr) bool { return !slices.Contains(known, a) })
	}
	n.peers.Add(id, from, now, ttl, addrs...)
	if news {
		n.wanted.Tell(id)
	}
}

// toldTTL is how long the peerstore keeps an address that other peers named and this node
// has not verified.
const toldTTL = 30 * time.Minute
