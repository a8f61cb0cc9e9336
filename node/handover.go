package node

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/kadquic/kadquic/internal/store"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// How hand-over is done was found by simulation of a thousand nodes that stay for
// ten minutes (internal/sim). The paper's rule, the nearest holder alone hands
// over, loses most records there: that one has died and nobody has noticed, or
// has not got the record itself. Five ranks and five minutes of silence lose one
// in a thousand; with these none is lost.
const (
	// handOverRanks is how many of a key's holders, nearest first, offer it to a
	// newcomer: 60 bytes a record each, and all but the first are told that it has
	// it.
	handOverRanks = 8
	// handOverAfter is how long newcomers are gathered, and left to find their
	// place, before records are handed over; half to one and a half times this,
	// lest several find a record missing at once and all send it.
	handOverAfter = 3 * time.Second
	// handOverSilence is how long a neighbour may have been silent to be counted on
	// for a hand-over without being asked whether it is there.
	handOverSilence = 2 * time.Minute
	// handOversAtOnce is how many passes over the store are under way at once, so
	// that a slow newcomer does not hold up the next.
	handOversAtOnce = 4
	// handOverTimeout bounds one of them. What remains is left to republishing.
	handOverTimeout = 10 * time.Minute
	// handOverSettled is how long after its start, or as soon as it has joined, a
	// node takes those whom it meets for newcomers. Before, it is the newcomer.
	handOverSettled = time.Minute
	// handOverAgain is how long a contact that comes and goes is not handed
	// anything more: nobody can keep us busy by it.
	handOverAgain = time.Minute
	// handOverAtATime bounds the records that one pass has found and not yet
	// delivered, some 200 bytes each.
	handOverAtATime = 16 << 10
	// maxNewcomers bounds the contacts that wait, and those remembered.
	maxNewcomers = 1024
)

// newcomers are contacts that have entered the table, or are alive again, and at
// whom nobody has looked yet. Goroutines may share them.
type newcomers struct {
	wake chan struct{} // has room for one

	mu      sync.Mutex
	opened  bool
	waiting []contact
}

// open ends the time in which all are passed over.
func (c *newcomers) open() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.opened = true
}

// add is the table's notice, while n.mu is held.
func (c *newcomers) add(x contact) {
	c.mu.Lock()
	if c.opened && len(c.waiting) < maxNewcomers {
		c.waiting = append(c.waiting, x)
	}
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *newcomers) take() []contact {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.waiting
	c.waiting = nil
	return all
}

// handOver gives nodes that have come near to us the records of whose k nearest
// they are one now (Kademlia §2.5).
func (n *Node) handOver(ctx context.Context) {
	lately := make(map[routing.Key]time.Time)
	passes := make(chan struct{}, handOversAtOnce)
	settled := time.NewTimer(handOverSettled)
	defer settled.Stop()
	for {
		select {
		case <-n.newcomers.wake:
		case <-settled.C:
			n.newcomers.open()
			continue
		case <-ctx.Done():
			return
		}
		if pause(ctx, handOverAfter/2+rand.N(handOverAfter)) != nil {
			return
		}
		now := time.Now()
		heirs := slices.DeleteFunc(n.newcomers.take(), func(c contact) bool {
			return now.Sub(lately[c.Key]) < handOverAgain || !n.routes.IsNeighbour(c.Key)
		})
		if len(heirs) == 0 || n.config.RepublishInterval < 0 || n.mode() != wire.ModeServer || n.values.Len() == 0 {
			continue
		}
		if len(lately)+len(heirs) > maxNewcomers {
			clear(lately)
		}
		for _, c := range heirs {
			lately[c.Key] = now
		}
		n.pingSilent(ctx, handOverSilence) // nearer ones that are gone unnoticed would keep us from it
		select {
		case passes <- struct{}{}:
		case <-ctx.Done():
			return
		}
		started := n.spawn(func() {
			defer func() { <-passes }()
			ctx, cancel := context.WithTimeout(ctx, handOverTimeout)
			defer cancel()
			n.handOverTo(ctx, heirs)
		})
		if !started {
			return
		}
	}
}

// handOverTo goes through the store once and delivers to newcomers what it is
// for us to hand them.
func (n *Node) handOverTo(ctx context.Context, newcomers []contact) {
	var held []store.Held
	routes := make([]route, len(newcomers))
	flush := func() {
		if len(held) == 0 {
			return
		}
		r := n.newReplication(heldRecords{n, held})
		r.run(ctx, routes)
		n.counters.handedOver.Add(r.sent)
		held = held[:0]
		for i := range routes {
			routes[i].which = routes[i].which[:0]
		}
	}
	for i, c := range newcomers {
		routes[i].to = c.Addr.ID
	}
	for h := range n.values.All(time.Now()) {
		if ctx.Err() != nil {
			return
		}
		if h.Cached {
			continue
		}
		due := false
		n.routes.Locked(func(t *table) {
			for i, c := range newcomers {
				if rank, ok := t.Heir(h.Key, c.Key); ok && rank < handOverRanks {
					routes[i].which = append(routes[i].which, int32(len(held)))
					due = true
				}
			}
		})
		if !due {
			continue
		}
		if held = append(held, h); len(held) == handOverAtATime {
			flush()
		}
	}
	flush()
}
