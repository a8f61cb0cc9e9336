package client

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/kadquic/kadquic/internal/peerref"
	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/wire"
)

// pulse is how often a reservation is renewed, and a relay in use for a peer pinged.
const pulse = 15 * time.Second

// A reservation of this node at a relay. Client.mu guards the fields that change.
type reservation struct {
	link    Link // constant
	since   time.Time
	expires time.Time
	renewed time.Time     // latest
	rtt     time.Duration // of the latest renewal
	quit    chan struct{} // closed: the reservation is not wanted any more
	once    sync.Once
}

func newReservation(l Link, since time.Time) *reservation {
	return &reservation{link: l, since: since, quit: make(chan struct{})}
}

// end closes quit. It may be called again.
func (p *reservation) end() { p.once.Do(func() { close(p.quit) }) }

// A Reservation is a relay through which peers reach this node.
type Reservation struct {
	Relay   wire.PeerID
	Addr    wire.Addr     // of the relay
	RTT     time.Duration // to the relay
	Since   time.Time
	Expires time.Time // unless it is renewed, as it is long before
}

// Reservations returns this node's reservations, the oldest first.
func (c *Client) Reservations() []Reservation {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []Reservation
	for _, p := range c.reservations {
		all = append(all, Reservation{p.link.ID(), wire.AddrFrom(p.link.RemoteAddr()), p.rtt, p.since, p.expires})
	}
	return all
}

// Relays returns the relays that hold a reservation of this node, the oldest first.
func (c *Client) Relays() []wire.PeerID {
	c.mu.Lock()
	defer c.mu.Unlock()
	var ids []wire.PeerID
	for _, p := range c.reservations {
		ids = append(ids, p.link.ID())
	}
	return ids
}

// HasReservation reports whether a peer holds a reservation of this node.
func (c *Client) HasReservation(id wire.PeerID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reservationLocked(id) != nil
}

func (c *Client) reservationLocked(relay wire.PeerID) *reservation {
	for _, p := range c.reservations {
		if p.link.ID() == relay {
			return p
		}
	}
	return nil
}

// hasReservationNear reports whether a peer holds a reservation of this node or, if another
// network is wanted, whether a relay in a network of the peer does.
func (c *Client) hasReservationNear(k *peerref.Ref, another bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(c.reservations, func(p *reservation) bool {
		if p.link.ID() == k.ID {
			return true
		}
		return another && slices.ContainsFunc(k.Addrs(), func(a wire.Addr) bool {
			ap, ok := a.AddrPort()
			return ok && reach.NetworkOf(ap.Addr()) == reach.NetworkOf(p.link.RemoteAddr().Addr())
		})
	})
}

var errShort = errors.New("the relay grants too short a reservation")

// renew requests a reservation, again or for the first time.
func (c *Client) renew(ctx context.Context, p *reservation) error {
	m, rtt, err := p.link.Call(ctx, wire.Reserve{})
	if err != nil {
		return err
	}
	c.Host.Answered(p.link, wire.Reserve{}, rtt)
	granted, ok := m.(wire.Reserved)
	if !ok {
		return c.Unexpected(p.link.ID(), m)
	}
	if granted.Lifetime < 2*pulse {
		return errShort
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	p.rtt, p.renewed = rtt, time.Now()
	p.expires = p.renewed.Add(granted.Lifetime)
	return nil
}

// holds reports whether a reservation is still one of this node's.
func (c *Client) holds(p *reservation) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Contains(c.reservations, p)
}

// drop forgets a reservation. It returns false if it was forgotten already, or has migrated.
func (c *Client) drop(p *reservation) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	had := slices.Contains(c.reservations, p)
	c.reservations = slices.DeleteFunc(slices.Clone(c.reservations), func(q *reservation) bool { return q == p })
	if s := c.relays[p.link]; s != nil {
		s.early = nil
	}
	return had
}

// anotherAnswered reports whether another relay than the one of p has answered since.
func (c *Client) anotherAnswered(p *reservation, since time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(c.reservations, func(q *reservation) bool {
		return q != p && q.renewed.After(since)
	})
}
