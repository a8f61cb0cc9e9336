package client

import (
	"context"
	"slices"
	"time"

	"github.com/kadquic/kadquic/wire"
)

const (
	// checkEvery is the shortest interval between two checks of a relay, whatever the
	// number of connections through it.
	checkEvery = 250 * time.Millisecond
	// renewEvery is the shortest interval between two replacements of the connection to a
	// relay: a handshake costs a busy relay more than the PING that it has not answered.
	renewEvery = 10 * time.Second
	// checkTimeout is the longest wait for the answer of a relay.
	checkTimeout = time.Second
)

// CheckRelays pings every relay through which a peer may reach this node: those that hold a
// reservation of this node, and the one in use for that peer. The request also shows the
// relay this node's address if it has changed: the relay follows the source address of
// packets, and until then its packets to this node are lost.
func (c *Client) CheckRelays(peer wire.PeerID) {
	now := time.Now()
	var due []Link
	c.mu.Lock()
	relays := make([]*relayState, 0, len(c.reservations)+1)
	for _, p := range c.reservations {
		relays = append(relays, c.stateLocked(p.link))
	}
	if s := c.routes[peer].current(); s != nil && !slices.Contains(relays, s) {
		relays = append(relays, s)
	}
	for _, s := range relays {
		if s.checked.IsZero() || now.Sub(s.checked) >= checkEvery {
			s.checked = now
			due = append(due, s.link)
		}
	}
	c.mu.Unlock()
	for _, l := range due {
		c.Background.Go(func() { c.CheckRelay(l) })
	}
}

// CheckRelay pings a relay, and replaces the link if no packet at all arrives from the relay in
// time. If other packets arrive but no answer, the relay or this node is slow, which is no
// error.
func (c *Client) CheckRelay(l Link) error {
	if !l.IsUp() {
		return nil
	}
	rtt := 100 * time.Millisecond
	if known := l.RTT(); known > 0 {
		rtt = min(known, time.Second)
	}
	ctx, cancel := context.WithTimeout(c.Background.Context(), min(max(4*rtt, checkTimeout/2), checkTimeout))
	defer cancel()
	before := l.PacketsReceived()
	_, _, err := l.Call(ctx, wire.Ping{})
	received := l.PacketsReceived() != before
	c.mu.Lock()
	s := c.stateLocked(l)
	s.unheard = err != nil && (s.hasEnded() || !received) // other relays are used until this one is heard again
	unheard := s.unheard
	c.mu.Unlock()
	if !unheard {
		return nil
	}
	c.replaceLink(l)
	return err
}

// replaceLink replaces the link to a relay that does not answer, if the relay accepts another
// connection. A live relay may send to an old address of this node: a relay that has dialled
// the connection must not follow it to a new address (RFC 9000 §9), and quic-go before v0.65
// follows twice.
func (c *Client) replaceLink(l Link) {
	if l.IsVirtual() || time.Since(l.Began()) < renewEvery || !c.Host.Retire(l) {
		return
	}
	c.Logger.Debug("the connection to a relay is replaced", "relay", l.ID())
	c.Background.Go(func() {
		ctx, cancel := context.WithTimeout(c.Background.Context(), c.RPCTimeout)
		defer cancel()
		c.Connect(ctx, l.ID()) // the reservation migrates to the new link; a call moves the routes
	})
}
