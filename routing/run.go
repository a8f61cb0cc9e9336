package routing

import (
	"context"
	"time"
)

// Run drives the lookup to its end: it calls ask for each query, in a new
// goroutine, and uses the clock. Any error from ask means that this query
// failed.
//
// It returns nil when the lookup is done and ctx.Err() if ctx ended first. All
// calls of ask have returned by then: the ctx of those still out is cancelled,
// so ask must heed it.
func (l *Lookup[A]) Run(ctx context.Context, ask func(context.Context, Query[A]) (Reply[A], error)) error {
	ctx, cancel := context.WithCancel(ctx)
	type result struct {
		key   Key
		reply Reply[A]
		err   error
	}
	results := make(chan result)
	out := 0
	take := func(r result) {
		out--
		if r.err != nil {
			l.Fail(r.key)
		} else {
			l.Answer(r.key, r.reply)
		}
	}
	defer func() {
		cancel()
		for out > 0 {
			take(<-results) // an answer that made it still counts
		}
	}()
	var timer *time.Timer
	var wake <-chan time.Time
	for {
		now := time.Now()
		for q, ok := l.Next(now); ok; q, ok = l.Next(now) {
			out++
			go func() {
				r, err := ask(ctx, q)
				results <- result{q.Key, r, err}
			}()
		}
		if l.Done(now) {
			return nil
		}
		if at, ok := l.Wake(); !ok {
			wake = nil
		} else if timer == nil {
			timer = time.NewTimer(at.Sub(now))
			defer timer.Stop()
			wake = timer.C
		} else {
			timer.Reset(at.Sub(now)) // since Go 1.23 no stale time is left in the channel
			wake = timer.C
		}
		select {
		case r := <-results:
			take(r)
		case <-wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
