package store

import (
	"iter"
	"sync"
	"time"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// A ledger is an index with its lock: what Memory and Disk have in common.
type ledger struct {
	mu sync.RWMutex // guards the fields below; never held across a transaction
	x  *index
}

// Offer implements [Store].
func (l *ledger) Offer(now time.Time, offered []wire.Offered, suppresses func(i int) bool) (want []bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.x.tick(now)
	want = make([]bool, len(offered))
	for i, o := range offered {
		e := l.x.find(t, slot{o.Key, o.Kind}, o.Print)
		// A cached copy is not what the sender wants held. On a disk, what still has
		// its record here is not committed: the answer would promise what a crash may
		// break.
		want[i] = e == nil || e.cached || l.x.load != nil && e.record != nil
		if e != nil && suppresses != nil && suppresses(i) {
			e.received = t
		}
	}
	return want
}

// Seq implements [Store].
func (l *ledger) Seq(now time.Time, key routing.Key) (uint64, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.x.slots[slot{key, wire.KindOwned}].highest(l.x.tick(now))
}

// All implements [Store].
func (l *ledger) All(now time.Time) iter.Seq[Held] {
	return func(yield func(Held) bool) {
		l.mu.RLock()
		entries := append([]*entry(nil), l.x.order...)
		l.mu.RUnlock()
		for _, e := range entries {
			if h, ok := l.held(now, e); ok && !yield(h) {
				return
			}
		}
	}
}

func (l *ledger) held(now time.Time, e *entry) (Held, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if e.index < 0 || !e.alive(l.x.tick(now)) {
		return Held{}, false
	}
	return l.x.held(e), true
}

// Len implements [Store]: remembered sequence numbers are not counted.
func (l *ledger) Len() int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.x.live
}

// Bytes implements [Store]: remembered sequence numbers are.
func (l *ledger) Bytes() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.x.use.bytes
}
