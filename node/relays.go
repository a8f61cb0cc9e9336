package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kadquic/kadquic/internal/relay"
	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

// relays is the node's own use of relays: its routes to peers, and its reservations. Goroutines
// may share it.
type relays struct {
	calls chan struct{} // one for each inbound call that is being answered
	wake  chan struct{} // has room for one: check the reservations now

	looking atomic.Bool // the node is asking for reservations

	mu      sync.Mutex // nothing is called while it is held
	routes  map[wire.PeerID]*relayRoute
	places  []*relayPlace
	learned map[wire.PeerID][]wire.PeerID // from addresses that the user gave
}

func newRelays() relays {
	return relays{
		calls:   make(chan struct{}, maxCalls),
		wake:    make(chan struct{}, 1),
		routes:  make(map[wire.PeerID]*relayRoute),
		learned: make(map[wire.PeerID][]wire.PeerID),
	}
}

// poke makes the task check the reservations now.
func (rs *relays) poke() {
	select {
	case rs.wake <- struct{}{}:
	default:
	}
}

const (
	// maxRelayRoutes bounds the peers that are reached by relays: some 6 KB each,
	// for halves of packets.
	maxRelayRoutes = 256
	// maxRouteLinks is how many relays are remembered for one of them.
	maxRouteLinks = 4
	// routeLife is how long a route stays without a packet or a connection over it:
	// as long as at the relay.
	routeLife = 2 * time.Minute
	// relayPulse is how often a relay in use is pinged.
	relayPulse = 15 * time.Second
	// maxLearned bounds the peers whose relays the user has told.
	maxLearned = 1024
)

// A relayRoute is the route of packets to a peer through relays. relays.mu guards it, except
// join.
type relayRoute struct {
	links  []*link   // to relays; the first is in use, the others are for when it ends or is not heard
	proven []*link   // those by which the peer has called us, or answered
	by     *link     // by which a packet of the peer came last
	came   time.Time // when that was
	used   time.Time
	pinged time.Time // the relay in use
	live   bool      // there was a connection over it when last looked
	number uint16    // of the last packet that went in parts

	join struct {
		sync.Mutex
		relay.Joiner
	}
}

// relayedTo is quic.Config.Relay: it sends a packet by the relay in use for that
// peer, or drops it.
func (n *Node) relayedTo(key quic.PublicKey, packet []byte) {
	id := wire.PeerID(key)
	rs := &n.relays
	rs.mu.Lock()
	r := rs.routes[id]
	l := r.link()
	if l == nil {
		rs.mu.Unlock()
		return
	}
	r.used = time.Now()
	r.number++
	number := r.number
	rs.mu.Unlock()
	relay.Send(l, id, packet, number)
}

// link returns the link in use, nil if there is none, and forgets those that have ended:
// the first whose relay was heard when it was last checked, else the first. With
// relays.mu held.
func (r *relayRoute) link() *link {
	if r == nil {
		return nil
	}
	for len(r.links) > 0 && r.links[0].conn.Err() != nil {
		r.links = r.links[1:]
	}
	if len(r.links) == 0 {
		return nil
	}
	for _, l := range r.links {
		if l.conn.Err() == nil && !l.unheard.Load() {
			return l
		}
	}
	return r.links[0]
}

// sendFuel sends a peer a relayed packet of that size, headers of QUIC not
// counted, that only pays.
func (n *Node) sendFuel(peer wire.PeerID, size int) {
	rs := &n.relays
	rs.mu.Lock()
	l := rs.routes[peer].link()
	rs.mu.Unlock()
	if l == nil {
		return
	}
	size = min(max(size, relay.HeaderLen), l.MaxDatagram())
	d := relay.Datagram{Kind: relay.Fuel, Peer: peer, Content: make([]byte, max(size-relay.HeaderLen, 0))}
	l.SendDatagram(d.Append(make([]byte, 0, size)))
}

// useRelay sets the relay of l as a route to peer. A working route through another relay stays
// first, so that the path does not change with each call. The others take over when the
// first ends.
func (n *Node) useRelay(peer wire.PeerID, l *link) {
	rs := &n.relays
	now := time.Now()
	rs.mu.Lock()
	r := rs.routes[peer]
	if r == nil {
		if len(rs.routes) >= maxRelayRoutes {
			rs.dropOldest()
		}
		r = &relayRoute{}
		rs.routes[peer] = r
	}
	first := r.link()
	links := slices.DeleteFunc(slices.Clone(r.links), func(old *link) bool { return old == l })
	at := 0
	if first != nil && first != l && r.works(first, now) {
		at = slices.Index(links, first) + 1
	}
	r.links = slices.Insert(links, at, l)
	r.links = r.links[:min(len(r.links), maxRouteLinks)]
	r.used = now
	var early []relay.Datagram
	l.carriage.early = slices.DeleteFunc(l.carriage.early, func(e earlyDatagram) bool {
		if e.b.Peer != peer {
			return false
		}
		if now.Sub(e.at) <= earlyLife {
			early = append(early, e.b)
		}
		return true
	})
	rs.mu.Unlock()
	l.carry()
	for _, d := range early {
		n.takeRelayed(r, d)
	}
}

// works reports whether packets get through by a link: some of the peer's came just now.
// With relays.mu held.
func (r *relayRoute) works(l *link, now time.Time) bool {
	return r.by == l && now.Sub(r.came) < relayEvery && slices.Contains(r.proven, l) && !l.unheard.Load()
}

// provenRelay notes that packets for peer pass by l: the peer has called us by it, or
// answered our call.
func (n *Node) provenRelay(peer wire.PeerID, l *link) {
	rs := &n.relays
	rs.mu.Lock()
	defer rs.mu.Unlock()
	l.unheard.Store(false)
	if r := rs.routes[peer]; r != nil && !slices.Contains(r.proven, l) {
		r.proven = append(slices.DeleteFunc(slices.Clone(r.proven), func(old *link) bool { return !slices.Contains(r.links, old) }), l)
	}
}

// dropRelay undoes useRelay: the route before takes over. A relay through which the peer has called
// this node, and which holds this node's reservation, stays, although the peer has no
// reservation there and cannot be called through it.
func (n *Node) dropRelay(peer wire.PeerID, l *link) {
	rs := &n.relays
	rs.mu.Lock()
	defer rs.mu.Unlock()
	r := rs.routes[peer]
	if r == nil {
		return
	}
	if slices.Contains(r.proven, l) && rs.placeAtLocked(l.id) != nil {
		return
	}
	was := func(old *link) bool { return old == l }
	r.links = slices.DeleteFunc(slices.Clone(r.links), was)
	r.proven = slices.DeleteFunc(slices.Clone(r.proven), was)
	if len(r.links) == 0 {
		delete(rs.routes, peer)
	}
}

// dropOldest makes room for a route. Routes of connections are dropped last, because their
// connections need them when a path breaks, and calling strangers may be many.
func (rs *relays) dropOldest() {
	var oldest *relayRoute
	var of wire.PeerID
	for id, r := range rs.routes {
		if oldest == nil || oldest.live && !r.live || oldest.live == r.live && r.used.Before(oldest.used) {
			oldest, of = r, id
		}
	}
	delete(rs.routes, of)
}

// relayOf returns the relay in use for a peer.
func (n *Node) relayOf(peer wire.PeerID) (wire.PeerID, bool) {
	rs := &n.relays
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if l := rs.routes[peer].link(); l != nil {
		return l.id, true
	}
	return wire.PeerID{}, false
}

var errNoDatagrams = errors.New("the peer takes no datagrams, and so cannot relay")

// callBy calls a peer through a relay, to which it connects if necessary, and returns the answer
// of the peer and the link to the relay. The relay becomes a route to the peer when the call is
// sent. callBy does not repeat a call, because a callee accepts the same call only once.
func (n *Node) callBy(ctx context.Context, by, to wire.PeerID, intro []byte, padding int) (wire.Called, *link, error) {
	called, l, err := n.callOnce(ctx, by, to, intro, padding)
	if err != nil {
		return wire.Called{}, nil, fmt.Errorf("call %s by %s: %w", to, by, err)
	}
	return called, l, nil
}

func (n *Node) callOnce(ctx context.Context, by, to wire.PeerID, intro []byte, padding int) (wire.Called, *link, error) {
	l, err := n.reach(ctx, by)
	if err != nil {
		return wire.Called{}, nil, err
	}
	if l.MaxDatagram() == 0 {
		return wire.Called{}, l, errNoDatagrams
	}
	n.useRelay(to, l)
	l.conn.Touch()
	m, rtt, err := l.Call(ctx, wire.Call{Peer: to, Offer: intro, Padding: padding})
	if err == nil {
		n.answered(l, wire.Call{}, rtt)
		if called, ok := m.(wire.Called); ok {
			n.provenRelay(to, l)
			return called, l, nil
		}
		err = unexpected(by, m)
	}
	// Without a reservation of the peer nothing passes. If the relay is only busy, the
	// route of an earlier call stays.
	if errors.Is(err, wire.CodeUnreachable) || errors.Is(err, wire.CodeUnimplemented) {
		n.dropRelay(to, l)
	}
	return wire.Called{}, l, err
}

// tendRoutes keeps the routes of open connections, and forgets routes that have no
// connection.
func (n *Node) tendRoutes(now time.Time) {
	rs := &n.relays
	rs.mu.Lock()
	ids := make([]wire.PeerID, 0, len(rs.routes))
	for id := range rs.routes {
		ids = append(ids, id)
	}
	rs.mu.Unlock()
	live := make(map[wire.PeerID]bool)
	for _, id := range ids {
		live[id], _ = n.pool.Virtual(publicKey(id))
	}
	var ping []*link
	rs.mu.Lock()
	for id, r := range rs.routes {
		l := r.link()
		r.live = live[id]
		switch {
		case live[id]:
			r.used = now
			if l != nil && now.Sub(r.pinged) >= relayPulse {
				r.pinged, ping = now, append(ping, l)
			}
		case l == nil, now.Sub(r.used) > routeLife:
			delete(rs.routes, id)
		}
	}
	rs.mu.Unlock()
	slices.SortFunc(ping, func(a, b *link) int { return a.addr.Compare(b.addr) })
	for _, l := range slices.Compact(ping) { // it touches both ends of the link
		n.probe(l.id)
	}
}
