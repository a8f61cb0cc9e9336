// Package background runs the goroutines of an object so that its Close can end them all
// and wait for them.
package background

import (
	"context"
	"sync"
	"time"
)

// A Group is all goroutines of one object. Make it with [NewGroup]. Goroutines may share it.
type Group struct {
	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex // orders Go before Stop
	stopped bool
	wg      sync.WaitGroup
}

// NewGroup makes a group without goroutines.
func NewGroup() *Group {
	g := new(Group)
	g.ctx, g.cancel = context.WithCancel(context.Background())
	return g
}

// Context ends with Stop. What runs in the group heeds it.
func (g *Group) Context() context.Context { return g.ctx }

// Go runs f in a goroutine. After Stop it does nothing and returns false.
func (g *Group) Go(f func()) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopped {
		return false
	}
	g.wg.Go(f)
	return true
}

// Stop ends the context and lets no goroutine start any more. It does not wait.
func (g *Group) Stop() {
	g.mu.Lock()
	g.stopped = true
	g.mu.Unlock()
	g.cancel()
}

// Wait returns when all goroutines have returned. Call it after Stop.
func (g *Group) Wait() { g.wg.Wait() }

// A Slots bounds how many goroutines of a group do one kind of work at the same time.
// Goroutines may share it.
type Slots struct {
	group *Group
	taken chan struct{}
}

// Slots makes n slots for one kind of work, all free.
func (g *Group) Slots(n int) *Slots { return &Slots{g, make(chan struct{}, n)} }

// TryAcquire takes a slot, if one is free, for the caller to Release.
func (s *Slots) TryAcquire() bool {
	select {
	case s.taken <- struct{}{}:
		return true
	default:
		return false
	}
}

// Acquire waits for a free slot and takes it, for the caller to Release. It returns the
// error of ctx if that ends first.
func (s *Slots) Acquire(ctx context.Context) error {
	select {
	case s.taken <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Release gives a slot back.
func (s *Slots) Release() { <-s.taken }

// Go runs f in a goroutine of the group and then releases the slot that the caller holds.
// After Stop it releases the slot at once and returns false.
func (s *Slots) Go(f func()) bool {
	ok := s.group.Go(func() {
		defer s.Release()
		f()
	})
	if !ok {
		s.Release()
	}
	return ok
}

// TryGo runs f in a goroutine of the group, if a slot is free. It returns false when none
// is, and after Stop.
func (s *Slots) TryGo(f func()) bool { return s.TryAcquire() && s.Go(f) }

// Sleep waits for d. If ctx ends first it returns the cause.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// A Wake wakes one waiting goroutine, and remembers one call of Set for a goroutine that is
// not waiting yet. Make it with [NewWake]. Goroutines may share it.
type Wake struct{ c chan struct{} }

// NewWake makes a Wake that is not set.
func NewWake() Wake { return Wake{make(chan struct{}, 1)} }

// Set wakes the waiting goroutine. It never blocks.
func (w Wake) Set() {
	select {
	case w.c <- struct{}{}:
	default:
	}
}

// C receives a value if Set has been called since the last receive.
func (w Wake) C() <-chan struct{} { return w.c }
