package node

import (
	"context"
	"slices"
	"time"

	"github.com/kadquic/kadquic/internal/store"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// republishTimeout bounds one round of republishing, so that a receiver that is
// hardly alive does not delay what comes due meanwhile.
const republishTimeout = 5 * time.Minute

// republish sends the records that are due to their other holders (Kademlia §2.5). Usually
// another holder has done so before, and a record is not due. It runs once a minute.
func (n *Node) republish(ctx context.Context) {
	if n.config.RepublishInterval < 0 || n.mode() != wire.ModeServer || n.lonely() {
		return
	}
	due := n.due(time.Now())
	if len(due) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, republishTimeout)
	defer cancel()
	n.survey(ctx, time.Now().Add(-n.config.RepublishInterval))
	due = slices.DeleteFunc(due, func(h store.Held) bool { return !n.responsible(h.Key) })
	r := n.newReplication(heldRecords{n, due})
	r.toNearest(ctx)
	if n.ctx.Err() != nil {
		return
	}
	due = slices.Collect(func(yield func(store.Held) bool) {
		for i, h := range due {
			if r.reached[i] && !yield(h) {
				return
			}
		}
	})
	n.counters.republished.Add(int64(len(due)))
	n.markRepublished(due)
}

// batchFill is how many records go together if so many come due soon, so that one request to a
// node serves all of them.
const batchFill = 256

// due returns the records to republish at now, and some of those that come due within a quarter of
// the interval. After hours offline all may be due; it then returns as many as one round
// takes, and the others in the next.
func (n *Node) due(now time.Time) []store.Held {
	most := max(4*batchFill, n.values.Len()/15) // as when all were put at once, of which a quarter of an hour takes note
	soon := now.Add(n.config.RepublishInterval / 4)
	var due, others []store.Held
	for h := range n.values.All(now) {
		if h.Cached {
			continue
		}
		at := store.RepublishAt(n.key, h, n.began, n.config.RepublishInterval)
		if at.After(soon) || !n.responsible(h.Key) {
			continue
		}
		switch {
		case !at.After(now) && len(due) < most:
			due = append(due, h)
		case at.After(now) && len(others) < batchFill:
			others = append(others, h)
		}
	}
	if len(due) > 0 && len(due) < batchFill {
		due = append(due, others[:min(len(others), batchFill-len(due))]...)
	}
	return due
}

// responsible reports whether this node is one of the k nearest to key, as far as it knows. It
// does not republish other records, or the holders of a record would become more and more.
func (n *Node) responsible(key routing.Key) bool {
	return n.routes.Closer(key) < n.config.K
}

// markRepublished notes that records were received just now, as they were from
// ourselves.
func (n *Node) markRepublished(held []store.Held) {
	offered := make([]wire.Offered, 0, wire.MaxOffer)
	for part := range slices.Chunk(held, wire.MaxOffer) {
		offered = offered[:0]
		for _, h := range part {
			offered = append(offered, wire.Offered{Kind: h.Kind, Key: h.Key, Print: h.Print})
		}
		n.values.Offer(time.Now(), offered, func(int) bool { return true })
	}
}
