package node

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/kadquic/kadquic/internal/swarm"
	"github.com/kadquic/kadquic/wire"
)

// A relayPlace is a reservation of this node at a relay. relays.mu guards its variable fields.
type relayPlace struct {
	link    *link // constant
	since   time.Time
	expires time.Time
	renewed time.Time     // when it was last
	rtt     time.Duration // of that
	quit    chan struct{} // closed: it is not wanted any more
	once    sync.Once
}

// RelayInfo is a relay at which the node has a place: others reach it there.
type RelayInfo struct {
	ID      wire.PeerID
	Addr    wire.Addr     // of the relay
	RTT     time.Duration // to it
	Since   time.Time
	Expires time.Time // unless it is renewed, as it is long before
}

// Relays returns the relays at which the node has a place, the oldest first.
func (n *Node) Relays() []RelayInfo {
	rs := &n.relays
	rs.mu.Lock()
	defer rs.mu.Unlock()
	var all []RelayInfo
	for _, p := range rs.places {
		all = append(all, RelayInfo{ID: p.link.id, Addr: p.link.at, RTT: p.rtt, Since: p.since, Expires: p.expires})
	}
	return all
}

// heldRelays returns the relays for the peer record.
func (n *Node) heldRelays() []wire.PeerID {
	var ids []wire.PeerID
	for _, r := range n.Relays() {
		ids = append(ids, r.ID)
	}
	return ids
}

// holdsReservation reports whether the node has a place at the peer of a link, by
// whichever link that may be.
func (n *Node) holdsReservation(l *link) bool {
	n.relays.mu.Lock()
	defer n.relays.mu.Unlock()
	return n.relays.placeAtLocked(l.id) != nil
}

func (rs *relays) placeAtLocked(relay wire.PeerID) *relayPlace {
	for _, p := range rs.places {
		if p.link.id == relay {
			return p
		}
	}
	return nil
}

// renewPlace asks for a place, again or for the first time.
func (n *Node) renewPlace(ctx context.Context, p *relayPlace) error {
	m, rtt, err := p.link.Call(ctx, wire.Reserve{})
	if err != nil {
		return err
	}
	n.answered(p.link, wire.Reserve{}, rtt)
	r, ok := m.(wire.Reserved)
	if !ok {
		return unexpected(p.link.id, m)
	}
	if r.Lifetime < 2*relayPulse {
		return errors.New("a place for so short a time is none")
	}
	n.relays.mu.Lock()
	defer n.relays.mu.Unlock()
	p.rtt, p.renewed = rtt, time.Now()
	p.expires = p.renewed.Add(r.Lifetime)
	return nil
}

// keepPlace renews a reservation every 15 seconds, which also keeps the NAT's mapping, until the
// connection ends, the relay refuses, or does not answer although another relay does, or
// the reservation is not wanted any more. If no relay answers, this node has lost its
// network, perhaps briefly. If streams block the connection, the reservation moves to another
// connection. One that was moved to this link is requested at once.
func (n *Node) keepPlace(p *relayPlace, release func(), moved bool) {
	defer release()
	timer := time.NewTimer(relayPulse)
	defer timer.Stop()
	if moved {
		timer.Reset(0)
	}
	wanted := true
	var doubted bool     // another has answered since; it is asked once more
	var silent time.Time // when the first unanswered request was sent; zero: all were answered
	for wanted {
		select {
		case <-timer.C:
			asked := time.Now()
			err := n.renewPlace(n.ctx, p)
			switch {
			case err == nil:
				silent, doubted = time.Time{}, false
				timer.Reset(relayPulse)
				continue
			case errors.Is(err, swarm.ErrNoAnswer):
				if silent.IsZero() {
					silent = asked
				}
				another := n.anotherAnswers(p, silent)
				if !another {
					n.renewLink(p.link)
				}
				if !another || !doubted { // the other may have answered since, when we were back
					doubted = another
					timer.Reset(reserveAgain)
					continue
				}
				p.link.close()
			case errors.Is(err, swarm.ErrStalled):
				ctx, cancel := context.WithTimeout(n.ctx, n.config.RPCTimeout)
				n.relayLink(ctx, p.link.id) // to which the place moves
				cancel()
				if !n.hasStill(p) {
					return
				}
			}
		case <-p.link.conn.Done():
		case <-p.quit:
			if !n.hasStill(p) { // it was moved
				return
			}
			wanted = false
			ctx, cancel := context.WithTimeout(n.ctx, n.config.RPCTimeout)
			p.link.Call(ctx, wire.Reserve{Release: true}) // it ends there with its time otherwise
			cancel()
		}
		break
	}
	if !n.dropPlace(p) || n.ctx.Err() != nil {
		return
	}
	n.config.Logger.Info("no longer reached by a relay", "relay", p.link.id, "wanted", wanted)
	n.relaysChanged()
	if wanted {
		n.relays.poke()
	}
}

// anotherAnswers reports whether a relay, other than the one of p, has answered since.
func (n *Node) anotherAnswers(p *relayPlace, since time.Time) bool {
	rs := &n.relays
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return slices.ContainsFunc(rs.places, func(q *relayPlace) bool {
		return q != p && q.renewed.After(since)
	})
}

// dropPlace forgets a place; false if it was already, or has been moved.
func (n *Node) dropPlace(p *relayPlace) bool {
	rs := &n.relays
	rs.mu.Lock()
	defer rs.mu.Unlock()
	had := slices.Contains(rs.places, p)
	rs.places = slices.DeleteFunc(slices.Clone(rs.places), func(q *relayPlace) bool { return q == p })
	p.link.carriage.early = nil
	return had
}
