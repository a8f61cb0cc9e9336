package node

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// To a peer that is behind a NAT there may be an ordinary connection, since the NAT has
// let a packet in that was for another. It lasts for as long as that is so, and cannot
// be mended; for a conversation the peer is called all the same.

const (
	// betterFor is how long somebody waits for a better connection than there is, if no
	// relay of the peer is at hand: all may be dead. If one is, it is the way that is
	// slow, or the machine, and a call has its time.
	betterFor = time.Second
	// worseFor is for how long the connection that there is will do when the call has
	// failed: doubled each time, up to maxWorseFor.
	worseFor, maxWorseFor = 30 * time.Second, 10 * time.Minute
	// maxBetters bounds the peers of whom that is remembered.
	maxBetters = 1024
)

// reachForStream returns a link to a peer that is fit for a conversation: to one that
// has relays, as it is behind a NAT, a connection whose path can be mended.
func (n *Node) reachForStream(ctx context.Context, id wire.PeerID) (*link, error) {
	n.seeks.enter(id) // until there is the better one, the user waits
	defer n.seeks.leave(id)
	l, err := n.reachFor(ctx, id, forStream)
	if err != nil || l.conn.Virtual() || l.addr.Addr().IsLoopback() {
		return l, err
	}
	relays := n.relaysOf(id)
	relays = relays[:min(len(relays), maxCallRelays)]
	if len(relays) == 0 || !n.agents.betters.begin(id, relays, time.Now()) {
		return l, nil
	}
	wait := betterFor
	if slices.ContainsFunc(relays, n.atHand) {
		wait = callFor
	}
	bounded, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	by := make(chan wire.PeerID, len(relays))
	for _, relay := range relays {
		by <- relay
	}
	c, err := n.dialCalled(bounded, id, by)
	if err != nil {
		if errors.Is(ctx.Err(), context.Canceled) { // which says nothing of the relays
			relays = nil
		}
		n.agents.betters.failed(id, relays, time.Now())
		return l, nil
	}
	n.pool.Add(c)
	n.agents.betters.done(id)
	return n.linkTo(ctx, id, forStream)
}

// atHand reports whether there is a connection to a relay.
func (n *Node) atHand(relay wire.PeerID) bool {
	c, ok := n.pool.Lookup(publicKey(relay))
	return ok && !c.Virtual() && c.Value.(*link).IsUp()
}

// betters are the peers that are called although there is a connection: one call to
// each at a time, and none for a while after one that has failed. The zero value is
// empty; goroutines may share it.
type betters struct {
	mu sync.Mutex
	of map[wire.PeerID]better
}

type better struct {
	busy     bool
	failures int           // in a row
	relays   []wire.PeerID // of the last
	at       time.Time     // when the peer may be called by them again
}

// begin reports whether a peer is to be called by these relays; then failed or done
// must follow. A relay by which it was not called before is a reason to do so at once.
func (bs *betters) begin(id wire.PeerID, relays []wire.PeerID, now time.Time) bool {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	b, known := bs.of[id]
	news := slices.ContainsFunc(relays, func(r wire.PeerID) bool { return !slices.Contains(b.relays, r) })
	if b.busy || now.Before(b.at) && !news || !known && !bs.room(now) {
		return false
	}
	if bs.of == nil {
		bs.of = make(map[wire.PeerID]better)
	}
	b.busy = true
	bs.of[id] = b
	return true
}

// room makes room for one more, if there is none, by forgetting who may be called.
func (bs *betters) room(now time.Time) bool {
	if len(bs.of) >= maxBetters {
		maps.DeleteFunc(bs.of, func(_ wire.PeerID, b better) bool { return !b.busy && !now.Before(b.at) })
	}
	return len(bs.of) < maxBetters
}

// failed notes that a call by these relays has failed; by none, that it was given up.
func (bs *betters) failed(id wire.PeerID, relays []wire.PeerID, now time.Time) {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	b := bs.of[id]
	b.busy = false
	if len(relays) > 0 {
		b.relays, b.at = relays, now.Add(min(worseFor<<min(b.failures, 10), maxWorseFor))
		b.failures++
	}
	bs.of[id] = b
}

// done notes that a call has succeeded.
func (bs *betters) done(id wire.PeerID) {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	delete(bs.of, id)
}
