package node

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/kadquic/kadquic/routing"
)

// A surveyed says how well this node knows its neighbourhood. Goroutines may
// share it.
type surveyed struct {
	mu  sync.Mutex
	at  time.Time // when it last looked; zero: never
	all bool      // it found fewer than k nodes: all there are
}

// whole reports whether the table holds the whole network.
func (s *surveyed) whole() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all
}

// survey makes the complete subtree around us complete, unless it was after
// before: it looks up our own key and the ranges in the subtree that no lookup
// has touched since. Then the k nearest of the keys in it are known without
// lookups (Kademlia §2.5).
func (n *Node) survey(ctx context.Context, before time.Time) {
	s := &n.surveyed
	s.mu.Lock()
	fresh := s.at.After(before)
	s.mu.Unlock()
	if fresh {
		return
	}
	start := time.Now()
	out, err := n.lookups.Nodes(ctx, "refresh", n.key)
	if err != nil {
		return
	}
	found := 0
	for range out.Closest() {
		found++
	}
	targets, depth := n.routes.Stale(before)
	targets = slices.DeleteFunc(targets, func(t routing.Key) bool { return n.key.CommonPrefixLen(t) < depth })
	if _, err := n.walkAll(ctx, targets); err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at, s.all = start, found < n.config.K
}

// pingsAtOnce is how many neighbours are asked at once: all, usually.
const pingsAtOnce = 32

// pingSilent pings the neighbours (contacts of the complete subtree) that have said nothing for
// the given time, and returns when all have answered or failed.
func (n *Node) pingSilent(ctx context.Context, silence time.Duration) {
	silent := n.routes.Silent(time.Now().Add(-silence))
	var wg sync.WaitGroup
	places := make(chan struct{}, pingsAtOnce)
	for _, c := range silent {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			ctx, cancel := context.WithTimeout(ctx, n.config.RPCTimeout)
			defer cancel()
			n.ping(ctx, c.Addr.ID)
		})
	}
	wg.Wait()
}
