package bench

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// operation is one of those that [drive] does.
type operation func(ctx context.Context, worker, i int) error

// drive does operations 0…m−1, c of them in flight, and returns how long each
// took. Operation i is op(ctx, worker, i): worker, in [0, c), is the same for
// no two in flight. The first error, or the end of ctx, ends it all.
func drive(ctx context.Context, m, c int, op operation) (latencies, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	took := make(latencies, m)
	var next atomic.Int64
	var wg sync.WaitGroup
	for worker := range min(c, m) {
		wg.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= m {
					return
				}
				begun := time.Now()
				if err := op(ctx, worker, i); err != nil {
					cancel(err)
					return
				}
				took[i] = time.Since(begun)
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return took, nil
}
