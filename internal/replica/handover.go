package replica

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/kadquic/kadquic/internal/background"
	"github.com/kadquic/kadquic/internal/store"
	"github.com/kadquic/kadquic/routing"
)

// The parameters of hand-over come from a simulation of a thousand nodes that stay for
// ten minutes (internal/sim). The paper's rule, by which only the nearest holder hands
// over, loses most records there: the nearest holder has died undetected, or lacks the
// record itself. Five ranks and five minutes of silence lose one record in a thousand;
// the values below lose none.
const (
	// handOverRanks is how many of a key's holders, nearest first, offer its records
	// to a newcomer. Each offer costs 60 bytes a record, and after the first offer the
	// newcomer answers that it has the record.
	handOverRanks = 8
	// handOverSilence is how long a neighbour may have been silent and still count as
	// alive for a hand-over without a PING.
	handOverSilence = 2 * time.Minute
	// handOverTimeout bounds one pass. Republishing delivers the remaining records.
	handOverTimeout = 10 * time.Minute
	// handOverSettled is how long after its start a node begins to treat new contacts
	// as newcomers, or earlier, once it has joined. Before, it is the newcomer.
	handOverSettled = time.Minute
	// handOverAgain is the shortest interval between two hand-overs to one contact, so
	// that a contact that comes and goes cannot keep the node busy.
	handOverAgain = time.Minute
	// handOverAtATime bounds the records that one pass has found and not yet
	// delivered, some 200 bytes each.
	handOverAtATime = 16 << 10
)

// Joined notes that a contact has entered the routing table, or is alive again. It is brief and
// calls nothing, so that it may be called with the table locked.
func (r *Replicator) Joined(c contact) { r.newcomers.add(c) }

// Settle ends the initial period in which new contacts count as older than this node.
func (r *Replicator) Settle() { r.newcomers.open() }

// HandOver sends each newcomer in this node's neighbourhood the records for which the
// newcomer is now one of the k nearest (Kademlia §2.5).
func (r *Replicator) HandOver(ctx context.Context) {
	lately := make(map[routing.Key]time.Time)
	settled := time.NewTimer(handOverSettled)
	defer settled.Stop()
	for {
		select {
		case <-r.newcomers.wake.C():
		case <-settled.C:
			r.newcomers.open()
			continue
		case <-ctx.Done():
			return
		}
		if background.Sleep(ctx, handOverAfter/2+rand.N(handOverAfter)) != nil {
			return
		}
		now := time.Now()
		due := slices.DeleteFunc(r.newcomers.take(), func(c contact) bool {
			return now.Sub(lately[c.Key]) < handOverAgain || !r.Table.IsNeighbour(c.Key)
		})
		if len(due) == 0 || !r.isActive() || r.Host.Store().Len() == 0 {
			continue
		}
		if len(lately)+len(due) > maxNewcomers {
			clear(lately)
		}
		for _, c := range due {
			lately[c.Key] = now
		}
		r.pingSilent(ctx, handOverSilence) // dead but undetected nearer contacts would lower this node's rank
		if r.handOvers.Acquire(ctx) != nil {
			return
		}
		started := r.handOvers.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, handOverTimeout)
			defer cancel()
			r.handOverTo(ctx, due)
		})
		if !started {
			return
		}
	}
}

// handOverTo goes through the store once and delivers to each newcomer the records that
// this node must hand over to it.
func (r *Replicator) handOverTo(ctx context.Context, newcomers []contact) {
	values := r.Host.Store()
	var held []store.Held
	routes := make([]route, len(newcomers))
	flush := func() {
		if len(held) == 0 {
			return
		}
		p := r.newReplication(heldRecords{values, held})
		p.run(ctx, routes)
		r.handedOver.Add(p.sent)
		held = held[:0]
		for i := range routes {
			routes[i].which = routes[i].which[:0]
		}
	}
	for i, c := range newcomers {
		routes[i].to = c.Addr.ID
	}
	for h := range values.All(time.Now()) {
		if ctx.Err() != nil {
			return
		}
		if h.Cached {
			continue
		}
		due := false
		r.Table.Each(len(newcomers), func(t *table, i int) {
			if rank, ok := t.Heir(h.Key, newcomers[i].Key); ok && rank < handOverRanks {
				routes[i].which = append(routes[i].which, int32(len(held)))
				due = true
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
