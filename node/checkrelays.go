package node

import (
	"context"
	"slices"
	"time"

	"github.com/kadquic/kadquic/wire"
)

const (
	// checkEvery is how often a relay is checked at most, whatever the number of
	// conversations.
	checkEvery = 250 * time.Millisecond
	// renewEvery is how often the connection to a relay is replaced at most: a handshake
	// is more work for a busy relay than the PING that it has not answered.
	renewEvery = 10 * time.Second
)

// checkRelays asks every relay that a peer may reach us by whether it is there: those that
// hold a reservation of ours, and the one in use for that peer. The request also tells
// the relay our address, if that has changed: a relay follows to where packets come from,
// and until then whatever it sends us is lost.
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

// checkLink asks the relay of a link whether it is there, and replaces the link if neither
// an answer nor anything else comes from there in time. If only the answer does not, the
// relay is slow, or we are: that is no error.
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
	l.unheard.Store(true) // until it is heard, others are used
	n.renewLink(l)
	return err
}

// renewLink replaces the link to a relay that does not answer, if the relay accepts
// another connection. A relay may be there and send to an address that we have no more:
// if it has dialled us it must not follow us to another (RFC 9000 §9), and quic-go before
// v0.65 follows twice.
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
		n.relayLink(ctx, l.id) // our reservation moves to it; a call moves the routes
	})
}
