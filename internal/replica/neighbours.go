package replica

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

// isWhole reports whether the table holds the whole network.
func (s *surveyed) isWhole() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all
}

// survey makes the complete subtree around us complete, unless it was after
// before: it looks up our own key and the ranges in the subtree that no lookup
// has touched since. Then the k nearest of the keys in it are known without
// lookups (Kademlia §2.5).
func (r *Replicator) survey(ctx context.Context, before time.Time) {
	s := &r.surveyed
	s.mu.Lock()
	fresh := s.at.After(before)
	s.mu.Unlock()
	if fresh {
		return
	}
	start := time.Now()
	nearest, err := r.Host.LookUp(ctx, "refresh", r.key)
	if err != nil {
		return
	}
	targets, depth := r.Table.Stale(before)
	targets = slices.DeleteFunc(targets, func(t routing.Key) bool { return r.key.CommonPrefixLen(t) < depth })
	for _, target := range targets {
		// A lookup fails if no peer answers: the table may have no contact in that range yet.
		if _, err := r.Host.LookUp(ctx, "refresh", target); err != nil {
			if ctx.Err() != nil || r.Background.Context().Err() != nil {
				return
			}
			r.Logger.Info("refresh", "err", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at, s.all = start, len(nearest) < r.K
}

// pingsAtOnce is how many neighbours are asked at once: all, usually.
const pingsAtOnce = 32

// pingSilent pings the neighbours (contacts of the complete subtree) that have said nothing for
// the given time, and returns when all have answered or failed.
func (r *Replicator) pingSilent(ctx context.Context, silence time.Duration) {
	silent := r.Table.Silent(time.Now().Add(-silence))
	var wg sync.WaitGroup
	slots := make(chan struct{}, pingsAtOnce)
	for _, c := range silent {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			r.Host.Ping(ctx, c.Addr.ID)
		})
	}
	wg.Wait()
}
