package replica

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/kadquic/kadquic/internal/store"
	"github.com/kadquic/kadquic/wire"
)

// deliverAtOnce is how many nodes one replication serves at the same time, so that a slow or dead one
// does not delay the others.
const deliverAtOnce = 8

// A route is a node and the numbers of the records to deliver to it, in ascending order.
type route struct {
	to    wire.PeerID
	which []int32
}

// A replication delivers the records of a batch, each to the k nodes nearest to its key: one
// stream of records for each node, a few nodes at a time (Kademlia §2.5). The next nearest node
// replaces one that cannot be reached, once. It counts this node if it is one of the nearest, and
// stores fresh records here in that case.
type replication struct {
	by      *Replicator
	batch   batch
	acks    []int
	reached []bool                  // by record: another node answered
	own     []bool                  // this node is to hold it
	routes  map[wire.PeerID][]int32 // planned so far
	sent    int64                   // records that others took, each counted for each
}

func (r *Replicator) newReplication(c batch) *replication {
	return &replication{
		by: r, batch: c,
		acks: make([]int, c.Len()), reached: make([]bool, c.Len()), own: make([]bool, c.Len()),
		routes: make(map[wire.PeerID][]int32),
	}
}

// toNearest brings all records to the k nearest nodes.
func (p *replication) toNearest(ctx context.Context) {
	all := make([]int32, p.batch.Len())
	for i := range all {
		all[i] = int32(i)
	}
	if again := p.run(ctx, p.plan(ctx, all)); len(again) > 0 {
		p.run(ctx, p.plan(ctx, again))
	}
}

// plan returns which peers should get which of these records and have not been tried yet.
func (p *replication) plan(ctx context.Context, which []int32) []route {
	r := p.by
	planned := make(map[wire.PeerID][]int32)
	var own []int32
	to := func(id wire.PeerID, i int32) {
		if id == r.Self {
			if !p.own[i] {
				p.own[i] = true
				own = append(own, i)
			}
		} else if _, tried := slices.BinarySearch(p.routes[id], i); !tried {
			planned[id] = append(planned[id], i)
		}
	}
	uncovered := r.eachHolder(p.batch, which, to)
	r.lookUpHolders(ctx, p.batch, uncovered, to)
	p.storeLocal(own)
	routes := make([]route, 0, len(planned))
	for id, which := range planned {
		slices.Sort(which)
		routes = append(routes, route{id, which})
		all := append(p.routes[id], which...)
		slices.Sort(all)
		p.routes[id] = all
	}
	return routes
}

// storeLocal stores in one batch the records that this node itself should hold.
func (p *replication) storeLocal(which []int32) {
	var items []store.Item
	for part := range slices.Chunk(which, wire.MaxStore) {
		items = items[:0]
		for _, i := range part {
			if p.batch.Fresh() {
				items = append(items, store.Item{Record: p.batch.Load(int(i))})
			} else {
				p.acks[i]++
			}
		}
		for j, err := range p.by.Host.Store().Put(time.Now(), items) {
			if err == nil {
				p.acks[part[j]]++
			}
		}
	}
}

// run delivers, and returns the records that some peer did not get.
func (p *replication) run(ctx context.Context, routes []route) (again []int32) {
	var mu sync.Mutex // guards acks, reached, sent and again
	var wg sync.WaitGroup
	slots := make(chan struct{}, deliverAtOnce)
	for _, t := range routes {
		if len(t.which) == 0 {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			held, sent, err := p.by.deliver(ctx, t.to, p.batch, t.which)
			if err != nil && ctx.Err() == nil {
				p.by.Logger.Debug("replicate", "err", err)
			}
			mu.Lock()
			defer mu.Unlock()
			p.sent += int64(sent)
			for i, ok := range held {
				if ok {
					p.acks[t.which[i]]++
				} else if err != nil {
					again = append(again, t.which[i])
					continue
				}
				p.reached[t.which[i]] = true
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return nil
	}
	slices.Sort(again)
	return slices.Compact(again)
}

// Replicate delivers fresh records, which no peer has yet, to the k nodes nearest to each key. It
// returns how many nodes hold each record now, this node included if it is one of the nearest.
// It may take minutes. When ctx ends it returns the counts so far.
func (r *Replicator) Replicate(ctx context.Context, records []*wire.Signed) []int {
	p := r.newReplication(freshRecords(records))
	p.toNearest(ctx)
	return p.acks
}
