package client

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/wire"
)

const (
	// Wanted is how many reservations a node keeps that needs them: with three, two relays
	// may fail at once.
	Wanted = 3
	// Needed is how many it wants even if the relays are in one network.
	Needed = 2
	// refusedLife is how long a node does not ask a peer again that refused to relay, and
	// silentLife one that did not answer. aloneLife replaces both while the node has no
	// reservation.
	refusedLife, silentLife, aloneLife = 10 * time.Minute, time.Minute, 20 * time.Second
	// Waits after a round that did not find enough, doubled each time.
	minWait, maxWait = 2 * time.Second, 30 * time.Second
)

var (
	errNoDatagrams = errors.New("the peer takes no datagrams, and so cannot relay")
	errNotPublic   = errors.New("not a public peer")
)

// Run gets reservations as long as they are wanted, and releases them when they are not. It
// returns when ctx ends.
func (c *Client) Run(ctx context.Context) {
	refused := make(map[wire.PeerID]time.Time) // until when
	wait := minWait
	var next time.Time // of the next round
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-c.wake.C(): // a reservation has ended and another is needed, or the node has joined
			wait, next = minWait, time.Time{}
		case <-ctx.Done():
			return
		}
		now := time.Now()
		switch missing := Wanted - len(c.Relays()); {
		case !c.Host.WantsRelays():
			c.releaseAll()
			wait, next = minWait, time.Time{}
		case missing > 0 && !now.Before(next) && !c.Host.IsIsolated():
			c.setSearching(true)
			enough := c.reserve(ctx, refused)
			c.setSearching(false)
			if enough {
				wait = minWait
			} else {
				wait = min(2*wait, maxWait)
			}
			next = time.Now().Add(wait)
		}
		timer.Reset(time.Second)
	}
}

func (c *Client) setSearching(is bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.searching = is
}

// releaseAll ends all reservations.
func (c *Client) releaseAll() {
	c.mu.Lock()
	all := slices.Clone(c.reservations)
	c.mu.Unlock()
	for _, p := range all {
		p.end()
	}
}

// reserve asks the servers nearest to the node's key for reservations, and returns true once
// there are enough. Servers in a network that has a reservation already come last, and only
// while there is a single reservation. Refusals are noted in refused.
func (c *Client) reserve(ctx context.Context, refused map[wire.PeerID]time.Time) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	maps.DeleteFunc(refused, func(_ wire.PeerID, until time.Time) bool { return !time.Now().Before(until) })
	near, err := c.Host.Nearest(ctx)
	if err != nil {
		return false
	}
	for _, pass := range []struct {
		want    int
		another bool // network
	}{{Wanted, true}, {Needed, false}} {
		for _, peer := range near {
			if len(c.Relays()) >= pass.want {
				break
			}
			if _, no := refused[peer.ID]; no || peer.ID == c.Self || ctx.Err() != nil || c.hasReservationNear(peer, pass.another) {
				continue
			}
			if err := c.reserveAt(ctx, peer.ID, pass.another); err != nil && ctx.Err() == nil {
				life := refusedLife
				if errors.Is(err, c.NoAnswer) || errors.Is(err, c.Unreachable) {
					life = silentLife
				}
				if len(c.Relays()) == 0 {
					life = aloneLife
				}
				refused[peer.ID] = time.Now().Add(life)
				c.Logger.Debug("no reservation at a relay", "peer", peer.ID, "err", err)
			}
		}
	}
	return len(c.Relays()) >= Wanted
}

// reserveAt gets a reservation at a peer.
func (c *Client) reserveAt(ctx context.Context, id wire.PeerID, another bool) error {
	l, err := c.Host.Connect(ctx, id)
	switch {
	case err != nil:
		return err
	case l.MaxDatagram() == 0:
		return errNoDatagrams
	case reach.ScopeOf(l.RemoteAddr().Addr()) != reach.ScopeGlobal:
		return errNotPublic
	case c.hasReservationNear(l.Ref(), another): // now that its addresses are known
		return nil
	}
	p := newReservation(l, time.Now())
	if err := c.renew(ctx, p); err != nil {
		return err
	}
	c.mu.Lock()
	c.reservations = append(c.reservations, p)
	c.mu.Unlock()
	if !c.start(p, false) {
		return c.Closed
	}
	c.Logger.Info("reached by a relay", "relay", id, "addr", wire.AddrFrom(l.RemoteAddr()))
	c.Host.ReservationsChanged()
	return nil
}
