package node

import (
	"slices"
	"sync"
	"time"

	"github.com/kadquic/kadquic/internal/relay"
)

// carriage is the relaying state of a link, both as a relay and as a relay's client.
type carriage struct {
	reading sync.Once

	mu      sync.Mutex // guards release
	release func()     // ends the hold that the peer's reservation here has on the connection; nil: no reservation

	early []earlyDatagram // received through this relay from peers without a route yet; guarded by relays.mu
}

// An earlyDatagram is a datagram that arrived before the call it belongs to: a DATAGRAM
// frame may overtake the stream.
type earlyDatagram struct {
	at time.Time
	b  relay.Datagram
}

const (
	maxEarly  = 16 // of one link
	earlyLife = time.Second
)

// SendDatagram and MaxDatagram make a link usable as a link of package relay.
func (l *link) SendDatagram(b []byte) bool {
	l.conn.Touch()
	return l.conn.SendDatagram(b)
}

func (l *link) MaxDatagram() int { return l.conn.MaxDatagram() }

// carry begins to read the link's datagrams. Each goes to its destination: to another
// peer, if this node is the relay, or else to this node.
func (l *link) carry() {
	l.carriage.reading.Do(func() {
		l.node.spawn(func() {
			for {
				b, err := l.conn.ReceiveDatagram(l.node.ctx)
				if err != nil {
					return
				}
				l.conn.Touch()
				if d, ok := relay.Parse(b); ok && d.From {
					l.node.relayedFrom(l, d)
				} else {
					l.node.relay.Forward(l.id, b, time.Now())
				}
			}
		})
	})
}

// relayedFrom handles a datagram that another peer sent through a relay. If the peer has
// no route yet, the datagram waits up to earlyLife for the relay to introduce the peer.
func (n *Node) relayedFrom(l *link, d relay.Datagram) {
	rs := &n.relays
	rs.mu.Lock()
	r := rs.routes[d.Peer]
	if r == nil || !slices.Contains(r.links, l) {
		if c := &l.carriage; rs.placeAtLocked(l.id) != nil {
			now := time.Now()
			c.early = slices.DeleteFunc(c.early, func(e earlyDatagram) bool { return now.Sub(e.at) > earlyLife })
			if len(c.early) < maxEarly {
				c.early = append(c.early, earlyDatagram{now, d})
			}
		}
		rs.mu.Unlock()
		return
	}
	r.by, r.came = l, time.Now()
	l.unheard.Store(false)
	rs.mu.Unlock()
	n.takeRelayed(r, d)
}

func (n *Node) takeRelayed(r *relayRoute, d relay.Datagram) {
	if d.Kind == relay.Fuel {
		n.sessions.AddCredit(d.Peer, relay.HeaderLen+len(d.Content))
		return
	}
	r.join.Lock()
	packet, ok := r.join.Add(d)
	r.join.Unlock()
	if ok {
		n.callSocket().Deliver(publicKey(d.Peer), packet)
	}
}
