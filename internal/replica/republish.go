package replica

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

// Republish sends the records that are due to their other holders (Kademlia §2.5). Usually
// another holder has done so before, and a record is not due. It runs once a minute.
func (r *Replicator) Republish(ctx context.Context) {
	if !r.isActive() || r.Host.IsIsolated() {
		return
	}
	due := r.due(time.Now())
	if len(due) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, republishTimeout)
	defer cancel()
	r.survey(ctx, time.Now().Add(-r.Interval))
	due = slices.DeleteFunc(due, func(h store.Held) bool { return !r.isResponsible(h.Key) })
	p := r.newReplication(heldRecords{r.Host.Store(), due})
	p.toNearest(ctx)
	if r.Background.Context().Err() != nil {
		return
	}
	due = slices.Collect(func(yield func(store.Held) bool) {
		for i, h := range due {
			if p.reached[i] && !yield(h) {
				return
			}
		}
	})
	r.republished.Add(int64(len(due)))
	r.markRepublished(due)
}

// batchFill is how many records go together if so many come due soon, so that one request to a
// node serves all of them.
const batchFill = 256

// due returns the records to republish at now, and some of those that come due within a quarter of
// the interval. After hours offline all may be due; it then returns as many as one round
// takes, and the others in the next.
func (r *Replicator) due(now time.Time) []store.Held {
	most := max(4*batchFill, r.Host.Store().Len()/15) // as when all were put at once, of which a quarter of an hour takes note
	soon := now.Add(r.Interval / 4)
	var due, others []store.Held
	for h := range r.Host.Store().All(now) {
		if h.Cached {
			continue
		}
		at := store.RepublishAt(r.key, h, r.began, r.Interval)
		if at.After(soon) || !r.isResponsible(h.Key) {
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

// isResponsible reports whether this node is one of the k nearest to key, as far as it knows. It
// does not republish other records, or the holders of a record would become more and more.
func (r *Replicator) isResponsible(key routing.Key) bool {
	return r.Table.Closer(key) < r.K
}

// markRepublished notes that records were received just now, as they were from
// ourselves.
func (r *Replicator) markRepublished(held []store.Held) {
	names := make([]wire.Offered, 0, wire.MaxOffer)
	for part := range slices.Chunk(held, wire.MaxOffer) {
		names = names[:0]
		for _, h := range part {
			names = append(names, offered(&h))
		}
		r.Host.Store().Offer(time.Now(), names, func(int) bool { return true })
	}
}
