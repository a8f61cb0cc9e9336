package node

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/kadquic/kadquic/internal/peerref"
	"github.com/kadquic/kadquic/internal/store"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// heldRecords are a batch of records of this node's store, which are loaded when they are sent.
type heldRecords struct {
	node *Node
	held []store.Held
}

func (c heldRecords) Len() int                { return len(c.held) }
func (c heldRecords) Load(i int) *wire.Signed { return c.node.values.Load(time.Now(), c.held[i]) }
func (c heldRecords) Fresh() bool             { return false }

func (c heldRecords) Offered(i int) wire.Offered {
	h := &c.held[i]
	return wire.Offered{Kind: h.Kind, Key: h.Key, Print: h.Print}
}

// deliverAtOnce is how many nodes one replication serves at the same time, so that a slow or dead one
// does not delay the others.
const deliverAtOnce = 8

// A route is a node and the numbers of the records to deliver to it, in ascending order.
type route struct {
	to    wire.PeerID
	which []int32
}

// replicate delivers every record of c to the k nodes nearest to its key: one stream of records for each
// node, a few nodes at a time (Kademlia §2.5). The next nearest node replaces one that cannot be
// reached, once. replicate returns how many nodes hold each record now. It counts this node if it
// is one of the nearest, and stores fresh records here in that case. It may take minutes. When ctx
// ends it returns the counts so far.
func (n *Node) replicate(ctx context.Context, c batch) []int {
	r := n.newReplication(c)
	r.toNearest(ctx)
	return r.acks
}

// A replication is one replicate.
type replication struct {
	node    *Node
	cargo   batch
	acks    []int
	reached []bool                  // by record: another node answered
	own     []bool                  // this node is to hold it
	routes  map[wire.PeerID][]int32 // planned so far
	sent    int64                   // records that others took, each counted for each
}

func (n *Node) newReplication(c batch) *replication {
	return &replication{
		node: n, cargo: c,
		acks: make([]int, c.Len()), reached: make([]bool, c.Len()), own: make([]bool, c.Len()),
		routes: make(map[wire.PeerID][]int32),
	}
}

// toNearest brings all records to the k nearest nodes.
func (r *replication) toNearest(ctx context.Context) {
	all := make([]int32, r.cargo.Len())
	for i := range all {
		all[i] = int32(i)
	}
	if again := r.run(ctx, r.plan(ctx, all)); len(again) > 0 {
		r.run(ctx, r.plan(ctx, again))
	}
}

// plan returns which peers should get which of these records and have not been tried yet.
func (r *replication) plan(ctx context.Context, which []int32) []route {
	n := r.node
	planned := make(map[wire.PeerID][]int32)
	var own []int32
	to := func(id wire.PeerID, i int32) {
		if id == n.id {
			if !r.own[i] {
				r.own[i] = true
				own = append(own, i)
			}
		} else if _, tried := slices.BinarySearch(r.routes[id], i); !tried {
			planned[id] = append(planned[id], i)
		}
	}
	uncovered := n.eachHolder(r.cargo, which, to)
	n.lookUpHolders(ctx, r.cargo, uncovered, to)
	r.hold(own)
	routes := make([]route, 0, len(planned))
	for id, which := range planned {
		slices.Sort(which)
		routes = append(routes, route{id, which})
		all := append(r.routes[id], which...)
		slices.Sort(all)
		r.routes[id] = all
	}
	return routes
}

// hold stores in one batch the records that this node itself should hold.
func (r *replication) hold(which []int32) {
	var items []store.Item
	for part := range slices.Chunk(which, wire.MaxStore) {
		items = items[:0]
		for _, i := range part {
			if r.cargo.Fresh() {
				items = append(items, store.Item{Record: r.cargo.Load(int(i))})
			} else {
				r.acks[i]++
			}
		}
		for j, err := range r.node.values.Put(time.Now(), items) {
			if err == nil {
				r.acks[part[j]]++
			}
		}
	}
}

// run delivers, and returns the records that some peer did not get.
func (r *replication) run(ctx context.Context, routes []route) (again []int32) {
	var mu sync.Mutex // guards acks, reached, sent and again
	var wg sync.WaitGroup
	places := make(chan struct{}, deliverAtOnce)
	for _, t := range routes {
		if len(t.which) == 0 {
			continue
		}
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			held, sent, err := r.node.deliver(ctx, t.to, r.cargo, t.which)
			if err != nil && ctx.Err() == nil {
				r.node.config.Logger.Debug("replicate", "err", err)
			}
			mu.Lock()
			defer mu.Unlock()
			r.sent += int64(sent)
			for i, ok := range held {
				if ok {
					r.acks[t.which[i]]++
				} else if err != nil {
					again = append(again, t.which[i])
					continue
				}
				r.reached[t.which[i]] = true
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

// lockedKeys is how many keys are looked for in the table before others get at
// it again: some 50 µs.
const lockedKeys = 64

// eachHolder calls to for each record and each of its k holders, this node included, if the table is sure
// of them. It returns the other records.
func (n *Node) eachHolder(c batch, which []int32, to func(wire.PeerID, int32)) (uncovered []int32) {
	server, whole := n.mode() == wire.ModeServer, n.surveyed.whole()
	room := make([]contact, 0, n.config.K)
	type found struct {
		i  int32
		id wire.PeerID
	}
	var holders []found
	for part := range slices.Chunk(which, lockedKeys) {
		holders = holders[:0]
		n.routes.Locked(func(t *table) {
			for _, i := range part {
				key := c.Offered(int(i)).Key
				if sure := t.Covers(key) || whole && t.Len() < n.config.K; !server || !sure {
					uncovered = append(uncovered, i)
					continue
				}
				others, rank := t.AppendHolders(room[:0], key)
				for _, h := range others {
					holders = append(holders, found{i, h.Addr.ID})
				}
				if rank >= 0 {
					holders = append(holders, found{i, n.id})
				}
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
func (n *Node) lookUpHolders(ctx context.Context, c batch, which []int32, to func(wire.PeerID, int32)) {
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
			plan := n.sweep(ctx, part)
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
func (n *Node) sweep(ctx context.Context, keys []routing.Key) *routing.Sweep[*peerref.Ref] {
	s := routing.NewSweep[*peerref.Ref](keys, n.config.K)
	for target, ok := s.Next(); ok && ctx.Err() == nil; target, ok = s.Next() {
		out, err := n.lookups.Nodes(ctx, "replicate", target, s.Near(target, n.config.K)...)
		if err != nil {
			n.config.Logger.Info("cannot replicate", "err", err)
			s.Skip()
			continue
		}
		s.Found(target, slices.Collect(out.Closest()))
	}
	return s
}
