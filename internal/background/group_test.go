package background

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestNothingStartsAfterStop(t *testing.T) {
	g := NewGroup()
	var ended atomic.Bool
	if !g.Go(func() { <-g.Context().Done(); ended.Store(true) }) {
		t.Fatal("a new group starts nothing")
	}
	g.Stop()
	g.Wait()
	if !ended.Load() {
		t.Error("Wait returned before the goroutine")
	}
	s := g.Slots(1)
	if g.Go(func() { t.Error("ran after Stop") }) || s.TryGo(func() { t.Error("ran after Stop") }) {
		t.Error("started after Stop")
	}
	if !s.TryAcquire() {
		t.Error("TryGo after Stop keeps its slot")
	}
}

func TestSlotsBoundGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGroup()
		s := g.Slots(2)
		release := make(chan struct{})
		for range 2 {
			if !s.TryGo(func() { <-release }) {
				t.Fatal("no slot, though one is free")
			}
		}
		if s.TryGo(func() {}) || s.TryAcquire() {
			t.Error("a third slot of two")
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Acquire(ended); !errors.Is(err, context.Canceled) {
			t.Errorf("Acquire with an ended context: %v", err)
		}
		release <- struct{}{}
		if err := s.Acquire(t.Context()); err != nil {
			t.Errorf("Acquire of a slot that was released: %v", err)
		}
		s.Release()
		close(release)
		g.Stop()
		g.Wait()
	})
}

func TestWakeRemembersOneSet(t *testing.T) {
	w := NewWake()
	w.Set()
	w.Set()
	<-w.C()
	select {
	case <-w.C():
		t.Error("two wakes from one receive")
	default:
	}
}

func TestSleepEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if err := Sleep(t.Context(), time.Minute); err != nil || time.Since(start) != time.Minute {
			t.Errorf("a minute took %v: %v", time.Since(start), err)
		}
		gone := errors.New("gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(gone) })
		start = time.Now()
		if err := Sleep(ctx, time.Hour); !errors.Is(err, gone) || time.Since(start) != time.Second {
			t.Errorf("Sleep took %v after its context ended: %v", time.Since(start), err)
		}
	})
}
