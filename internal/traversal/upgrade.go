package traversal

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

const (
	// upgradeTimeout is how long a user waits for a better connection if none of the
	// peer's relays is connected: all of them may be dead. If one is connected, the route or
	// the machine is slow, and the call may take callTimeout.
	upgradeTimeout = time.Second
	// minUpgradePause is how long the present connection is used after a failed upgrade.
	// It doubles with each failure, up to maxUpgradePause.
	minUpgradePause, maxUpgradePause = 30 * time.Second, 10 * time.Minute
	// maxUpgrades bounds the peers whose upgrades are remembered.
	maxUpgrades = 1024
)

// Upgrade calls a peer that is connected without a relay, through its relays, and adds the
// new connection to the pool. It reports whether there is one. A NAT may have let the
// present connection in because of its mapping for another peer; once it no longer does, an
// ICE restart can replace the path only of a connection that began with a call.
func (m *Sessions) Upgrade(ctx context.Context, id wire.PeerID, since time.Time, relays []wire.PeerID) bool {
	relays = relays[:min(len(relays), MaxRelays)]
	if len(relays) == 0 || !m.upgrades.begin(id, relays, time.Now()) {
		return false
	}
	timeout := upgradeTimeout
	if slices.ContainsFunc(relays, m.isConnected) {
		timeout = callTimeout
	}
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	through := make(chan wire.PeerID, len(relays))
	for _, relay := range relays {
		through <- relay
	}
	c, err := m.Dial(bounded, id, since, through)
	if err != nil {
		if errors.Is(ctx.Err(), context.Canceled) { // the relays have not failed
			relays = nil
		}
		m.upgrades.failed(id, relays, time.Now())
		return false
	}
	m.config.Pool.Add(c)
	m.upgrades.done(id)
	return true
}

// isConnected reports whether there is a connection to a relay.
func (m *Sessions) isConnected(relay wire.PeerID) bool {
	c, ok := m.config.Pool.Lookup(quic.PublicKey(relay))
	return ok && !c.Virtual() && c.Value.(Relay).IsUp()
}

// upgrades are the peers that were called to upgrade a connection: one call to each at a
// time, and a pause after one that has failed. The zero value is empty; goroutines may share
// it.
type upgrades struct {
	mu     sync.Mutex
	byPeer map[wire.PeerID]upgrade
}

type upgrade struct {
	busy     bool
	failures int           // in a row
	relays   []wire.PeerID // of the last call
	retryAt  time.Time     // when the peer may be called through them again
}

// begin reports whether to call a peer through these relays; failed or done must follow. A
// relay through which it was not called before is a reason to call at once.
func (u *upgrades) begin(id wire.PeerID, relays []wire.PeerID, now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	p, known := u.byPeer[id]
	hasNew := slices.ContainsFunc(relays, func(r wire.PeerID) bool { return !slices.Contains(p.relays, r) })
	if p.busy || now.Before(p.retryAt) && !hasNew || !known && !u.makeRoom(now) {
		return false
	}
	if u.byPeer == nil {
		u.byPeer = make(map[wire.PeerID]upgrade)
	}
	p.busy = true
	u.byPeer[id] = p
	return true
}

// makeRoom makes room for one more peer, if there is none, by forgetting those that may be
// called.
func (u *upgrades) makeRoom(now time.Time) bool {
	if len(u.byPeer) >= maxUpgrades {
		maps.DeleteFunc(u.byPeer, func(_ wire.PeerID, p upgrade) bool { return !p.busy && !now.Before(p.retryAt) })
	}
	return len(u.byPeer) < maxUpgrades
}

// failed notes that a call through these relays has failed, or without relays that it was
// given up.
func (u *upgrades) failed(id wire.PeerID, relays []wire.PeerID, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	p := u.byPeer[id]
	p.busy = false
	if len(relays) > 0 {
		p.relays, p.retryAt = relays, now.Add(min(minUpgradePause<<min(p.failures, 10), maxUpgradePause))
		p.failures++
	}
	u.byPeer[id] = p
}

// done notes that a call has succeeded.
func (u *upgrades) done(id wire.PeerID) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.byPeer, id)
}
