package client

import "slices"

// MigrateReservation moves this node's reservation at a relay, if it has one there, to a new
// link to that relay. The relay sends on the link that was last used for relaying, so calls
// may arrive on either link. The old link may end soon, and the reservation ends with it
// unless the node has renewed it on the new link.
func (c *Client) MigrateReservation(l Link) {
	if l.IsVirtual() || l.MaxDatagram() == 0 || !c.Host.IsInUse(l) {
		return
	}
	c.mu.Lock()
	old := c.reservationLocked(l.ID())
	if old == nil || old.link == l {
		c.mu.Unlock()
		return
	}
	p := newReservation(l, old.since)
	p.expires, p.rtt = old.expires, old.rtt
	c.reservations = slices.Clone(c.reservations)
	c.reservations[slices.Index(c.reservations, old)] = p
	from, to := c.stateLocked(old.link), c.stateLocked(l)
	for _, r := range c.routes {
		r.follow(from, to)
	}
	c.mu.Unlock()
	c.start(p, true)
	old.end()
	c.Logger.Debug("a reservation moves to another link", "relay", l.ID())
}
