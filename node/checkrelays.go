package node

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
)

// checkRelays pings every relay through which a peer may reach this node: those that
// hold a reservation for this node, and the one in use for that peer. The request also
// shows the relay this node's address if it has changed: the relay follows the source
// address of packets, and until then its packets to this node are lost.
func (n *Node) checkRelays(peer wire.PeerID) {
	rs := &n.relays
	rs.mu.Lock()
	var links []*link
	for _, p := range rs.places {
		links = append(links, p.link)
	}
	if l := rs.routes[peer].link(); l != nil && !slices.Contains(links, l) {
		links = append(links, l)
	}
	rs.mu.Unlock()
	for _, l := range links {
		last, now := l.checked.Load(), int64(time.Since(l.began))
		if (last != 0 && now-last < int64(checkEvery)) || !l.checked.CompareAndSwap(last, max(now, 1)) {
			continue
		}
		n.spawn(func() { n.checkLink(l) })
	}
}

// checkLink pings the relay of a link, and replaces the link if no packet at all arrives
// from the relay in time. If other packets arrive but no answer, the relay or this node
// is slow, which is no error.
func (n *Node) checkLink(l *link) error {
	if !l.IsUp() {
		return nil
	}
	ctx, cancel := context.WithTimeout(n.ctx, min(max(4*n.rttTo(l), relayAnswer/2), relayAnswer))
	defer cancel()
	before := l.conn.Stats().PacketsReceived
	_, _, err := l.Call(ctx, wire.Ping{})
	if err == nil || l.conn.Err() == nil && l.conn.Stats().PacketsReceived != before {
		l.unheard.Store(false)
		return nil
	}
	l.unheard.Store(true) // other relays are used until this one is heard again
	n.renewLink(l)
	return err
}

// renewLink replaces the link to a relay that does not answer, if the relay accepts
// another connection. A live relay may send to an old address of this node: a relay that
// has dialled the connection must not follow it to a new address (RFC 9000 §9), and
// quic-go before v0.65 follows twice.
func (n *Node) renewLink(l *link) {
	c, ok := n.pool.Lookup(publicKey(l.id))
	if !ok || c != l.conn || c.Virtual() || c.Retired() || time.Since(l.began) < renewEvery {
		return
	}
	n.config.Logger.Debug("the connection to a relay is replaced", "relay", l.id)
	n.pool.Retire(c)
	n.spawn(func() {
		ctx, cancel := context.WithTimeout(n.ctx, n.config.RPCTimeout)
		defer cancel()
		n.relayLink(ctx, l.id) // this node's reservation moves to the new link; a call moves the routes
	})
}
