package store

import (
	"bytes"
	"math"
	"time"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// Memory is a [Store] that ends with the process. Make one with [NewMemory].
type Memory struct {
	ledger
}

var _ Store = (*Memory)(nil)

// NewMemory returns an empty store of the node whose key is self.
func NewMemory(self routing.Key, l Limits) *Memory {
	return &Memory{ledger{x: newIndex(self, l)}}
}

// Put implements [Store].
func (m *Memory) Put(now time.Time, batch []Item) []error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.x.begin(now)
	errs := make([]error, len(batch))
	for i := range batch {
		if c := m.x.put(now, &batch[i]); c != wire.CodeOK {
			errs[i] = c
		}
	}
	return errs
}

// Get implements [Store].
func (m *Memory) Get(now time.Time, kind wire.Kind, key routing.Key, n int) []*wire.Signed {
	m.mu.RLock()
	defer m.mu.RUnlock()
	t := m.x.tick(now)
	var out []*wire.Signed
	for e := m.x.slots[slot{key, kind}]; e != nil && len(out) < n; e = e.next {
		if e.alive(t) {
			out = append(out, e.record)
		}
	}
	return out
}

// Has implements [Store].
func (m *Memory) Has(now time.Time, r *wire.Signed) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	t := m.x.tick(now)
	for e := m.x.slots[slot{r.Record.Key, r.Record.Kind}]; e != nil; e = e.next {
		if e.alive(t) && same(e.record, r) {
			return true
		}
	}
	return false
}

// same reports whether two records are equal to the last byte, signature included, so that the
// caller need not verify it again.
func same(a, b *wire.Signed) bool {
	return a.Signature == b.Signature && bytes.Equal(a.Payload, b.Payload)
}

// Load implements [Store].
func (m *Memory) Load(now time.Time, h Held) *wire.Signed {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if e := m.x.find(m.x.tick(now), slot{h.Key, h.Kind}, h.Print); e != nil {
		return e.record
	}
	return nil
}

// Expire implements [Store].
func (m *Memory) Expire(now time.Time) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, _ := m.x.sweep(m.x.tick(now), math.MaxInt)
	return n
}

// Close implements [Store]. There is nothing to release.
func (m *Memory) Close() error { return nil }
