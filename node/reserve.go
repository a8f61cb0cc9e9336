package node

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/kadquic/kadquic/internal/peerref"
	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/internal/swarm"
	"github.com/kadquic/kadquic/wire"
)

// Getting and keeping places at relays, by which others reach a node behind a NAT.

const (
	// wantRelays is how many places a node keeps that needs them: with three, two
	// may fail at once.
	wantRelays = 3
	// needRelays is how many it wants even if they are in one network.
	needRelays = 2
	// refusedLife is how long a node does not ask a peer again that refused to relay, and
	// silentLife one that did not answer. aloneLife replaces both while the node has no
	// reservation.
	refusedLife, silentLife, aloneLife = 10 * time.Minute, time.Minute, 20 * time.Second
	// Waits after a round that did not find enough, doubled each time.
	minReserveWait, maxReserveWait = 2 * time.Second, 30 * time.Second
	// reserveAgain is how soon a silent relay is asked again when no other relay has
	// answered either.
	reserveAgain = time.Second
)

// wantsRelays reports whether peers need a relay to reach the node: it has become a client because
// strangers do not reach it, or it seems to be behind a NAT or a firewall and no stranger has
// connected. A node that is configured as a client wants relays once it listens for an
// application's protocol, because peers could not reach it otherwise. One that is configured
// as a server never does.
func (n *Node) wantsRelays() bool {
	switch {
	case n.config.Mode == ModeServer:
		return false
	case n.config.Mode == ModeClient:
		n.listenersMu.Lock()
		defer n.listenersMu.Unlock()
		return len(n.listeners) > 0
	case n.mode() == wire.ModeClient:
		return true
	}
	sum := n.self.Sum(time.Now())
	return sum.NATed || sum.Doubt && !sum.Yes && !sum.Hope
}

// reserve is the task that gets places as long as they are wanted, and gives them
// back when they are not.
func (n *Node) reserve(ctx context.Context) {
	refused := make(map[wire.PeerID]time.Time) // until when
	wait := minReserveWait
	var next time.Time // of the next round
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-n.relays.wake: // a place is gone: another at once; or we have joined
			wait, next = minReserveWait, time.Time{}
		case <-ctx.Done():
			return
		}
		now := time.Now()
		switch missing := wantRelays - len(n.Relays()); {
		case !n.wantsRelays():
			n.giveBack()
			wait, next = minReserveWait, time.Time{}
		case missing > 0 && !now.Before(next) && !n.joiner.IsIsolated():
			n.relays.looking.Store(true)
			enough := n.reserveRound(ctx, refused)
			n.relays.looking.Store(false)
			if enough {
				wait = minReserveWait
			} else {
				wait = min(2*wait, maxReserveWait)
			}
			next = time.Now().Add(wait)
		}
		timer.Reset(time.Second)
	}
}

// giveBack ends all places.
func (n *Node) giveBack() {
	n.relays.mu.Lock()
	places := slices.Clone(n.relays.places)
	n.relays.mu.Unlock()
	for _, p := range places {
		p.once.Do(func() { close(p.quit) })
	}
}

// reserveRound asks the servers nearest to the node's key for reservations, and returns true once there
// are enough. Servers in a network that has a reservation already come last, and only while there
// is a single reservation. Refusals are noted in refused.
func (n *Node) reserveRound(ctx context.Context, refused map[wire.PeerID]time.Time) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	maps.DeleteFunc(refused, func(_ wire.PeerID, until time.Time) bool { return !time.Now().Before(until) })
	near, err := n.lookups.Nodes(ctx, "relays", n.key)
	if err != nil {
		return false
	}
	for _, pass := range []struct {
		want    int
		another bool // network
	}{{wantRelays, true}, {needRelays, false}} {
		for c := range near.Closest() {
			if len(n.Relays()) >= pass.want {
				break
			}
			id := c.Addr.ID
			if _, no := refused[id]; no || id == n.id || ctx.Err() != nil || n.hasPlace(c.Addr, pass.another) {
				continue
			}
			if err := n.reserveAt(ctx, id, pass.another); err != nil && ctx.Err() == nil {
				life := refusedLife
				if errors.Is(err, swarm.ErrNoAnswer) || errors.Is(err, ErrUnreachable) {
					life = silentLife
				}
				if len(n.Relays()) == 0 {
					life = aloneLife
				}
				refused[id] = time.Now().Add(life)
				n.config.Logger.Debug("no place at a relay", "peer", id, "err", err)
			}
		}
	}
	return len(n.Relays()) >= wantRelays
}

// hasPlace reports whether we have a place at that peer, or, if another network is
// wanted, in one in which it is.
func (n *Node) hasPlace(k *peerref.Ref, another bool) bool {
	rs := &n.relays
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return slices.ContainsFunc(rs.places, func(p *relayPlace) bool {
		if p.link.id == k.ID {
			return true
		}
		return another && slices.ContainsFunc(k.Addrs(), func(a wire.Addr) bool {
			ap, ok := a.AddrPort()
			return ok && reach.NetworkOf(ap.Addr()) == reach.NetworkOf(p.link.addr.Addr())
		})
	})
}

var errNotPublic = errors.New("not a public peer")

// reserveAt gets a place at a peer.
func (n *Node) reserveAt(ctx context.Context, id wire.PeerID, another bool) error {
	l, err := n.link(ctx, id)
	switch {
	case err != nil:
		return err
	case l.MaxDatagram() == 0:
		return errNoDatagrams
	case reach.ScopeOf(l.addr.Addr()) != reach.ScopeGlobal:
		return errNotPublic
	case n.hasPlace(l.ref, another): // now that it is known where it is
		return nil
	}
	p := &relayPlace{link: l, since: time.Now(), quit: make(chan struct{})}
	if err := n.renewPlace(ctx, p); err != nil {
		return err
	}
	rs := &n.relays
	rs.mu.Lock()
	rs.places = append(rs.places, p)
	rs.mu.Unlock()
	l.carry()
	release := l.conn.Hold()
	if !n.spawn(func() { n.keepPlace(p, release, false) }) {
		n.dropPlace(p)
		release()
		return ErrClosed
	}
	n.config.Logger.Info("reached by a relay", "relay", id, "addr", l.at)
	n.relaysChanged()
	return nil
}

// relaysChanged has the peer record say so, and published.
func (n *Node) relaysChanged() {
	n.record.recheck()
	select {
	case n.publishing <- struct{}{}:
	default:
	}
}

// sayRecord sends the node's record to its connected peers, as a server does at the start of a
// connection, because they may have an older record.
func (n *Node) sayRecord() {
	for _, l := range n.links.all() {
		if l.IsUp() {
			l.saying.Lock()
			l.sendHello() // an error ends the link, which its reader sees
			l.saying.Unlock()
		}
	}
}
