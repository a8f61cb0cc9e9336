package routing

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

type reply = Reply[string]

var errLost = errors.New("lost")

// run drives a lookup of key 0 from these seeds, and checks that nothing runs
// on after it has returned.
func run(t *testing.T, ctx context.Context, seeds []byte, o LookupOptions[string], ask func(context.Context, Query[string]) (reply, error)) (*conversation, error) {
	c := talk(t, 0, seeds, o)
	running := make(chan struct{}, 100)
	err := c.Lookup.Run(ctx, func(ctx context.Context, q Query[string]) (reply, error) {
		running <- struct{}{}
		defer func() { <-running }()
		return ask(ctx, q)
	})
	if n := len(running); n != 0 {
		t.Errorf("%d still run", n)
	}
	c.now = time.Now()
	return c, err
}

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		c, err := run(t, t.Context(), []byte{8, 9}, LookupOptions[string]{K: 2}, func(_ context.Context, q Query[string]) (reply, error) {
			time.Sleep(time.Second)
			switch q.Key {
			case key(8):
				return reply{Closer: []Contact[string]{contact(1)}}, nil
			case key(9):
				return reply{Closer: []Contact[string]{contact(2)}}, errLost
			}
			return reply{}, nil
		})
		if err != nil {
			t.Error(err)
		}
		c.closestAre(1, 8)
		if took := time.Since(begin); took != 2*time.Second {
			t.Errorf("took %v, want 2s", took)
		}
	})
}

// Deadlines pass without a call that wakes the lookup, and queries still out when
// it ends are cancelled and waited for.
func TestRunDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		c, err := run(t, t.Context(), []byte{1, 2}, LookupOptions[string]{K: 2, Alpha: 1, Timeout: seconds}, func(ctx context.Context, q Query[string]) (reply, error) {
			if q.Key == key(1) {
				<-ctx.Done()
				return reply{}, ctx.Err()
			}
			return reply{Closer: []Contact[string]{contact(3)}}, nil
		})
		if err != nil {
			t.Error(err)
		}
		c.closestAre(2, 3)
		if took := time.Since(begin); took != time.Second {
			t.Errorf("took %v, want 1s", took)
		}
		if s := c.Stats(); s.Overdue != 1 || s.Failures != 1 {
			t.Errorf("stats %+v", s)
		}
	})
}

// An answer that is there when the lookup ends counts.
func TestRunLateAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := run(t, t.Context(), []byte{1, 2}, LookupOptions[string]{Quorum: 1}, func(ctx context.Context, q Query[string]) (reply, error) {
			if q.Key == key(1) {
				return reply{Value: true}, nil
			}
			<-ctx.Done()
			return reply{}, nil
		})
		if err != nil {
			t.Error(err)
		}
		c.closestAre(1, 2)
	})
}

func TestRunCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		c, err := run(t, ctx, []byte{1, 2, 3}, LookupOptions[string]{}, func(ctx context.Context, q Query[string]) (reply, error) {
			if q.Key == key(1) {
				return reply{}, nil
			}
			<-ctx.Done()
			return reply{}, ctx.Err()
		})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want that of the context", err)
		}
		c.closestAre(1) // what was found by then is there
	})
}

// Run returns a finished result even if the context has ended.
func TestRunAlreadyDone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := NewLookup(Key{}, slices.Values([]Contact[string]{}), LookupOptions[string]{}).Run(ctx, nil); err != nil {
		t.Error(err)
	}
}

// Run never has more out than the lookup allows.
func TestRunBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seeds []byte
		for h := byte(1); h <= 20; h++ {
			seeds = append(seeds, h)
		}
		out := make(chan struct{}, 3) // a fourth would be an error at once
		_, err := run(t, t.Context(), seeds, LookupOptions[string]{}, func(context.Context, Query[string]) (reply, error) {
			select {
			case out <- struct{}{}:
			default:
				t.Error("more than three at a time")
			}
			time.Sleep(time.Second)
			<-out
			return reply{}, nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}
