package client

import (
	"slices"
	"time"

	"github.com/kadquic/kadquic/internal/relay"
	"github.com/kadquic/kadquic/wire"
)

const (
	// maxRoutes bounds the peers that are reached through relays: some 6 KB each, for halves
	// of packets.
	maxRoutes = 256
	// routeLife is how long a route stays without a packet or a connection over it: as long
	// as at the relay.
	routeLife = 2 * time.Minute
)

// Send sends a packet to a peer through the relay in use for that peer, or drops it.
func (c *Client) Send(peer wire.PeerID, packet []byte) {
	c.mu.Lock()
	r := c.routes[peer]
	s := r.current()
	if s == nil {
		c.mu.Unlock()
		return
	}
	r.used = time.Now()
	r.number++
	number := r.number
	c.mu.Unlock()
	relay.Send(s.link, peer, packet, number)
}

// SendCredit sends a peer a relayed packet of that size, headers of QUIC not counted, that
// only adds credit.
func (c *Client) SendCredit(peer wire.PeerID, size int) {
	l := c.linkOf(peer)
	if l == nil {
		return
	}
	size = min(max(size, relay.HeaderLen), l.MaxDatagram())
	d := relay.Datagram{Kind: relay.Credit, Peer: peer, Content: make([]byte, max(size-relay.HeaderLen, 0))}
	l.SendDatagram(d.Append(make([]byte, 0, size)))
}

// Route returns the relay in use for a peer.
func (c *Client) Route(peer wire.PeerID) (wire.PeerID, bool) {
	if l := c.linkOf(peer); l != nil {
		return l.ID(), true
	}
	return wire.PeerID{}, false
}

func (c *Client) linkOf(peer wire.PeerID) Link {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.routes[peer].current(); s != nil {
		return s.link
	}
	return nil
}

// SetRoute makes a relay a route to peer. A working route through another relay stays first;
// the others take over when the first ends.
func (c *Client) SetRoute(peer wire.PeerID, l Link) {
	now := time.Now()
	c.mu.Lock()
	r := c.routes[peer]
	if r == nil {
		if len(c.routes) >= maxRoutes {
			c.dropOldestLocked()
		}
		r = &route{}
		c.routes[peer] = r
	}
	s := c.stateLocked(l)
	r.set(s, now)
	early := s.takeEarly(peer, now)
	c.mu.Unlock()
	c.Host.ReadDatagrams(l)
	for _, d := range early {
		c.deliver(r, d)
	}
}

// ConfirmRoute notes that packets for peer pass through a relay: the peer has called this node
// through it, or has answered a call.
func (c *Client) ConfirmRoute(peer wire.PeerID, l Link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stateLocked(l)
	s.unheard = false
	if r := c.routes[peer]; r != nil {
		r.confirm(s)
	}
}

// dropRoute undoes SetRoute: the route before takes over. A relay through which the peer has
// called this node, and which holds this node's reservation, stays, although the peer has no
// reservation there and cannot be called through it.
func (c *Client) dropRoute(peer wire.PeerID, l Link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.routes[peer]
	if r == nil {
		return
	}
	s := c.stateLocked(l)
	if slices.Contains(r.confirmed, s) && c.reservationLocked(l.ID()) != nil {
		return
	}
	r.relays, r.confirmed = without(r.relays, s), without(r.confirmed, s)
	if len(r.relays) == 0 {
		delete(c.routes, peer)
	}
}

// dropOldestLocked makes room for a route. Routes of connections are dropped last, because
// their connections need them when a path breaks, and calling strangers may be many.
func (c *Client) dropOldestLocked() {
	var oldest *route
	var of wire.PeerID
	for id, r := range c.routes {
		if oldest == nil || oldest.live && !r.live || oldest.live == r.live && r.used.Before(oldest.used) {
			oldest, of = r, id
		}
	}
	delete(c.routes, of)
}

// Tend keeps the routes of open connections, and forgets routes that have no connection.
func (c *Client) Tend(now time.Time) {
	c.mu.Lock()
	ids := make([]wire.PeerID, 0, len(c.routes))
	for id := range c.routes {
		ids = append(ids, id)
	}
	c.mu.Unlock()
	live := make(map[wire.PeerID]bool)
	for _, id := range ids {
		live[id] = c.Host.IsRelayed(id)
	}
	var ping []Link
	c.mu.Lock()
	for id, r := range c.routes {
		s := r.current()
		r.live = live[id]
		switch {
		case live[id]:
			r.used = now
			if s != nil && now.Sub(r.pinged) >= pulse {
				r.pinged, ping = now, append(ping, s.link)
			}
		case s == nil, now.Sub(r.used) > routeLife:
			delete(c.routes, id)
		}
	}
	for l, s := range c.relays {
		if s.hasEnded() {
			delete(c.relays, l)
		}
	}
	c.mu.Unlock()
	slices.SortFunc(ping, func(a, b Link) int { return a.RemoteAddr().Compare(b.RemoteAddr()) })
	for _, l := range slices.Compact(ping) { // it touches both ends of the link
		c.Host.Ping(l.ID())
	}
}
