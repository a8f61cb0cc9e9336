package node

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/kadquic/kadquic/internal/store"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

const (
	// handOverAfter is how long changes of the neighbourhood are gathered, and how
	// long a newcomer is left to find its place, before records are handed over.
	handOverAfter = 3 * time.Second
	// handOverRanks is how many of a key's holders, nearest first, hand it over.
	// The paper wants the nearest only; if that one has died, or has not met the
	// newcomer yet, nobody would. That others offer, too, costs 60 bytes a record.
	handOverRanks = 3
	// handOversAtOnce is how many passes over the store are under way at once, so
	// that a slow newcomer does not hold up the next.
	handOversAtOnce = 4
	// handOverTimeout bounds one of them. What remains is left to republishing.
	handOverTimeout = 10 * time.Minute
	// handOverAgain is how long a contact that comes and goes is not handed
	// anything more, nor is anything handed over for its sake: nobody can keep us
	// busy by it.
	handOverAgain = time.Minute
	// handOverAtATime bounds the records that one pass has found and not yet
	// delivered, some 200 bytes each.
	handOverAtATime = 16 << 10
	// maxMoves bounds the contacts that wait, and those remembered.
	maxMoves = 1024
)

// A move is a contact that has come alive in our view, or is so no longer.
type move struct {
	contact
	gone bool
}

// moves are those that nobody has looked at yet. Goroutines may share them.
type moves struct {
	wake chan struct{} // has room for one

	mu      sync.Mutex
	opened  bool
	waiting []move
}

// open ends the time in which moves are passed over.
func (ms *moves) open() {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	ms.opened = true
}

// came and left are the table's notices: n.mu is held.
func (ms *moves) came(c contact) { ms.add(move{c, false}) }
func (ms *moves) left(c contact) { ms.add(move{c, true}) }

func (ms *moves) add(m move) {
	ms.mu.Lock()
	if ms.opened && len(ms.waiting) < maxMoves {
		ms.waiting = append(ms.waiting, m)
	}
	ms.mu.Unlock()
	select {
	case ms.wake <- struct{}{}:
	default:
	}
}

func (ms *moves) take() []move {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	all := ms.waiting
	ms.waiting = nil
	return all
}

// handOver gives records to nodes that have become one of the k nearest of
// their keys: because they are new (Kademlia §2.5), or because another that was
// nearer has gone.
func (n *Node) handOver(ctx context.Context) {
	lately := make(map[move]time.Time)
	passes := make(chan struct{}, handOversAtOnce)
	for {
		select {
		case <-n.moves.wake:
		case <-ctx.Done():
			return
		}
		if pause(ctx, handOverAfter) != nil {
			return
		}
		moved := n.moves.take()
		if n.config.RepublishInterval < 0 || n.mode() != wire.ModeServer || n.values.Len() == 0 {
			continue
		}
		now := time.Now()
		moved = slices.DeleteFunc(moved, func(m move) bool {
			if now.Sub(lately[m]) < handOverAgain || !n.matters(m) {
				return true
			}
			if len(lately) >= maxMoves {
				clear(lately)
			}
			lately[m] = now
			return false
		})
		if len(moved) == 0 {
			continue
		}
		select {
		case passes <- struct{}{}:
		case <-ctx.Done():
			return
		}
		started := n.spawn(func() {
			defer func() { <-passes }()
			ctx, cancel := context.WithTimeout(ctx, handOverTimeout)
			defer cancel()
			n.handOverFor(ctx, moved)
		})
		if !started {
			return
		}
	}
}

// matters reports whether a move is what it was still, and lies in the complete
// subtree: of what lies beyond we hold next to nothing.
func (n *Node) matters(m move) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	alive := n.table.Contains(m.Key) && !n.table.Marked(m.Key)
	return alive != m.gone && n.key.CommonPrefixLen(m.Key) >= n.table.Complete()
}

// handOverFor goes through the store once for some moves.
func (n *Node) handOverFor(ctx context.Context, moved []move) {
	var held []store.Held
	routes := make(map[wire.PeerID][]int32)
	flush := func() {
		if len(held) > 0 {
			n.handedOver(ctx, held, routes)
		}
		held = held[:0]
		clear(routes)
	}
	room := make([]contact, 0, n.config.K)
	var heirs []wire.PeerID
	for h := range n.values.All(time.Now()) {
		if ctx.Err() != nil {
			return
		}
		if h.Cached {
			continue
		}
		if heirs = n.appendHeirs(heirs[:0], room, h.Key, moved); len(heirs) == 0 {
			continue
		}
		for _, id := range heirs {
			routes[id] = append(routes[id], int32(len(held)))
		}
		if held = append(held, h); len(held) == handOverAtATime {
			flush()
		}
	}
	flush()
}

// appendHeirs appends those who have become one of the k nearest of key by the
// moves, if it is for us to hand it to them.
func (n *Node) appendHeirs(dst []wire.PeerID, room []contact, key routing.Key, moved []move) []wire.PeerID {
	n.mu.Lock()
	defer n.mu.Unlock()
	gone := 0
	for _, m := range moved {
		rank, ok := n.table.Heir(key, m.Key)
		switch {
		case !ok || rank >= handOverRanks:
		case m.gone:
			gone++
		default:
			dst = append(dst, m.Addr.id)
		}
	}
	if gone == 0 {
		return dst
	}
	holders, rank := n.table.AppendHolders(room[:0], key)
	if among := len(holders) + 1; rank < 0 || among < n.config.K {
		return dst // there is nobody who was not one of them before
	}
	for _, c := range holders[max(len(holders)-gone, 0):] {
		if !slices.Contains(dst, c.Addr.id) {
			dst = append(dst, c.Addr.id)
		}
	}
	return dst
}

// handedOver delivers what one pass has found.
func (n *Node) handedOver(ctx context.Context, held []store.Held, routes map[wire.PeerID][]int32) {
	r := n.newReplication(heldRecords{n, held})
	list := make([]route, 0, len(routes))
	for id, which := range routes {
		list = append(list, route{id, which})
	}
	r.run(ctx, list)
	n.counters.handedOver.Add(r.sent)
}
