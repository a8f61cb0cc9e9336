package node

import "slices"

// movePlace moves this node's reservation at a relay, if it has one there, to a new link
// to that relay. The relay sends on the link that was last used for relaying, so calls may
// arrive on either link. The old link may end soon, and the reservation ends with it
// unless the node has renewed it on the new link.
func (n *Node) movePlace(l *link) {
	if l.conn.Virtual() || l.MaxDatagram() == 0 {
		return
	}
	if c, ok := n.pool.Lookup(publicKey(l.id)); !ok || c != l.conn { // the pool keeps another connection
		return
	}
	rs := &n.relays
	rs.mu.Lock()
	old := rs.placeAtLocked(l.id)
	if old == nil || old.link == l {
		rs.mu.Unlock()
		return
	}
	p := &relayPlace{link: l, since: old.since, expires: old.expires, rtt: old.rtt, quit: make(chan struct{})}
	rs.places = slices.Clone(rs.places)
	rs.places[slices.Index(rs.places, old)] = p
	for _, r := range rs.routes {
		r.follow(old.link, l)
	}
	rs.mu.Unlock()
	l.carry()
	release := l.conn.Hold()
	if !n.spawn(func() { n.keepPlace(p, release, true) }) {
		n.dropPlace(p)
		release()
	}
	old.once.Do(func() { close(old.quit) })
	n.config.Logger.Debug("a place moves to another link", "relay", l.id)
}

// follow moves a route's outgoing packets from one link to another link to the same relay.
// The route still accepts packets that arrive on the old link.
func (r *relayRoute) follow(old, l *link) {
	i := slices.Index(r.links, old)
	if i < 0 || slices.Contains(r.links, l) {
		return
	}
	r.links = slices.Insert(slices.Clone(r.links), i, l)
	r.links = r.links[:min(len(r.links), maxRouteLinks)]
	if slices.Contains(r.proven, old) {
		r.proven = append(slices.Clone(r.proven), l)
	}
}

// hasStill reports whether a reservation is still one of this node's.
func (n *Node) hasStill(p *relayPlace) bool {
	n.relays.mu.Lock()
	defer n.relays.mu.Unlock()
	return slices.Contains(n.relays.places, p)
}
