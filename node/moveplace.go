package node

import "slices"

// movePlace has the place at a relay, if we have one there, go with a new link to it.
// The relay sends by the latest link that was used for relaying, so that calls may come
// by either; and the old one may be about to end, with the place if nobody has asked for
// it by the new.
func (n *Node) movePlace(l *link) {
	if l.conn.Virtual() || l.MaxDatagram() == 0 {
		return
	}
	if c, ok := n.pool.Lookup(publicKey(l.id)); !ok || c != l.conn { // it is not to stay
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

// follow has packets that go by a link to a relay go by another, to the same relay. What
// comes by the old one is taken still.
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

// hasStill reports whether a place is one of ours.
func (n *Node) hasStill(p *relayPlace) bool {
	n.relays.mu.Lock()
	defer n.relays.mu.Unlock()
	return slices.Contains(n.relays.places, p)
}
