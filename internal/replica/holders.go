package replica

import (
	"bytes"
	"context"
	"slices"
	"sync"

	"github.com/kadquic/kadquic/internal/peerref"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// holdersAtOnce is for how many records eachHolder gathers holders, outside the lock of the table,
// before it tells of them.
const holdersAtOnce = 1024

// eachHolder calls to for each record and each of its k holders, this node included, if the table is sure
// of them. It returns the other records.
func (r *Replicator) eachHolder(c batch, which []int32, to func(wire.PeerID, int32)) (uncovered []int32) {
	server, whole := r.Host.IsServer(), r.surveyed.isWhole()
	room := make([]contact, 0, r.K)
	type found struct {
		i  int32
		id wire.PeerID
	}
	var holders []found
	for part := range slices.Chunk(which, holdersAtOnce) {
		holders = holders[:0]
		r.Table.Each(len(part), func(t *table, j int) {
			i := part[j]
			key := c.Offered(int(i)).Key
			if sure := t.Covers(key) || whole && t.Len() < r.K; !server || !sure {
				uncovered = append(uncovered, i)
				return
			}
			others, rank := t.AppendHolders(room[:0], key)
			for _, h := range others {
				holders = append(holders, found{i, h.Addr.ID})
			}
			if rank >= 0 {
				holders = append(holders, found{i, r.Self})
			}
		})
		for _, h := range holders {
			to(h.id, h.i)
		}
	}
	return uncovered
}

// sweepsAtOnce is how many lookups of one replication run at the same time. sweepKeys is how many keys
// justify another one.
const (
	sweepsAtOnce = 4
	sweepKeys    = 64
)

// lookUpHolders is eachHolder for records of whose holders the table is not sure. It sweeps the key space
// with as few lookups as possible.
func (r *Replicator) lookUpHolders(ctx context.Context, c batch, which []int32, to func(wire.PeerID, int32)) {
	if len(which) == 0 {
		return
	}
	keys := make([]routing.Key, len(which))
	order := make([]int, len(which))
	for i := range which {
		keys[i], order[i] = c.Offered(int(which[i])).Key, i
	}
	slices.SortFunc(order, func(a, b int) int { return bytes.Compare(keys[a][:], keys[b][:]) })
	part := max(sweepKeys, (len(order)+sweepsAtOnce-1)/sweepsAtOnce)
	var mu sync.Mutex // guards the calls of to
	var wg sync.WaitGroup
	for order := range slices.Chunk(order, part) {
		wg.Go(func() {
			part := make([]routing.Key, len(order))
			for i, at := range order {
				part[i] = keys[at]
			}
			plan := r.sweep(ctx, part)
			mu.Lock()
			defer mu.Unlock()
			for h, indices := range plan.Plan() {
				for _, i := range indices {
					to(h.Addr.ID, which[order[i]])
				}
			}
		})
	}
	wg.Wait()
}

// sweep looks up the holders of the keys. Keys whose lookup fails are not in its plan.
func (r *Replicator) sweep(ctx context.Context, keys []routing.Key) *routing.Sweep[*peerref.Ref] {
	s := routing.NewSweep[*peerref.Ref](keys, r.K)
	for target, ok := s.Next(); ok && ctx.Err() == nil; target, ok = s.Next() {
		nearest, err := r.Host.LookUp(ctx, "replicate", target, s.Near(target, r.K)...)
		if err != nil {
			r.Logger.Info("cannot replicate", "err", err)
			s.Skip()
			continue
		}
		s.Found(target, nearest)
	}
	return s
}
