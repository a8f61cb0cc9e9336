package client

import (
	"slices"
	"time"

	"github.com/kadquic/kadquic/internal/relay"
)

// HandleDatagram handles a datagram that another peer sent through a relay. If the peer has
// no route yet, the datagram waits up to earlyLife for the call that it belongs to, provided
// that the relay holds a reservation of this node.
func (c *Client) HandleDatagram(l Link, d relay.Datagram) {
	now := time.Now()
	c.mu.Lock()
	s := c.stateLocked(l)
	r := c.routes[d.Peer]
	if r == nil || !slices.Contains(r.relays, s) {
		if c.reservationLocked(l.ID()) != nil {
			s.addEarly(d, now)
		}
		c.mu.Unlock()
		return
	}
	r.from, r.received = s, now
	s.unheard = false
	c.mu.Unlock()
	c.deliver(r, d)
}

func (c *Client) deliver(r *route, d relay.Datagram) {
	if d.Kind == relay.Credit {
		c.Host.AddCredit(d.Peer, relay.HeaderLen+len(d.Content))
		return
	}
	r.joinerMu.Lock()
	packet, ok := r.joiner.Add(d)
	r.joinerMu.Unlock()
	if ok {
		c.Host.Deliver(d.Peer, packet)
	}
}
