package store

import (
	"bytes"
	"container/heap"
	"iter"
	"sync"
	"time"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// Memory is a [Store] that ends with the process. Make one with [NewMemory].
//
// When it is full, what lies farthest from our own key gives way to what lies
// nearer, or is refused: the farther a key, the more other nodes hold it. Before
// that go remembered sequence numbers and cached copies.
type Memory struct {
	self   routing.Key
	limits Limits

	mu    sync.RWMutex
	base  time.Time // of the first Put; ticks count from it
	slots map[slot]*entry
	order farthest // all entries, those that give way first at the top
	use   usage
	live  int   // entries with a record
	swept int64 // tick of the last sweep that Put made for want of room
}

var _ Store = (*Memory)(nil)

// A slot is where records compete: kinds never do.
type slot struct {
	key  routing.Key
	kind wire.Kind
}

// An entry is one record, or what is left of an owned one after its end: the
// sequence number below which no other is taken. Guarded by Memory.mu.
// Times are ticks, nanoseconds since Memory.base.
type entry struct {
	record   *wire.Signed // nil: only seq is remembered
	next     *entry       // under the same slot; open and provider only, wire.Better first
	slot     slot
	distance routing.Distance // from our key
	end      int64            // of the record's signed life, by the clock at receipt
	until    int64            // it is dropped then; at most end, but for a remembered seq
	received int64            // last Put of this very record
	seq      uint64
	seqUntil int64
	size     int64
	account  account
	cached   bool
	index    int // in Memory.order; -1: not held any more
}

// NewMemory returns an empty store of the node whose key is self.
func NewMemory(self routing.Key, l Limits) *Memory {
	l = l.withDefaults()
	return &Memory{self: self, limits: l, slots: make(map[slot]*entry), use: usage{by: make(map[account]int64)}}
}

// tick converts a time. The caller holds mu; for writing if it may be the first.
func (m *Memory) tick(now time.Time) int64 { return int64(now.Sub(m.base)) }

// Put implements [Store].
func (m *Memory) Put(now time.Time, batch []Item) []error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.base.IsZero() {
		m.base = now
	}
	errs := make([]error, len(batch))
	for i := range batch {
		if c := m.put(now, &batch[i]); c != wire.CodeOK {
			errs[i] = c
		}
	}
	return errs
}

func (m *Memory) put(now time.Time, it *Item) wire.Code {
	r := it.Record
	if r == nil || !storable(r.Record.Kind) {
		return wire.CodeInvalid
	}
	t := m.tick(now)
	e := m.newEntry(now, t, it)
	if e.until <= t {
		return wire.CodeExpired
	}
	old := m.rival(e)
	if old != nil && old.record != nil && old.until <= t {
		old = m.end(old) // it only had not been swept yet
	}
	if it.IfSeq != nil {
		if e.slot.kind != wire.KindOwned {
			return wire.CodeInvalid
		}
		if old.highest(t) != *it.IfSeq && (old == nil || old.record == nil || verdict(old, e) != known) {
			return wire.CodeConflict
		}
	}
	if old != nil {
		switch verdict(old, e) {
		case stale:
			return wire.CodeStale
		case known:
			m.renew(old, e, it.Loud)
			return wire.CodeOK
		}
		m.remove(old)
	}
	if c := m.admit(e, t); c != wire.CodeOK {
		if old != nil {
			m.insert(old)
		}
		return c
	}
	return wire.CodeOK
}

func (m *Memory) newEntry(now time.Time, t int64, it *Item) *entry {
	r := it.Record
	e := &entry{
		record: r, slot: slot{r.Record.Key, r.Record.Kind}, distance: m.self.Distance(r.Record.Key),
		received: t, seq: r.Record.Seq, seqUntil: t + int64(SeqMemory),
		size: sizeOf(r), cached: it.Cached, index: -1,
		account: accountOf(it.Source), end: t + int64(min(max(r.Record.Expiry.Sub(now), 0), wire.MaxTTL+wire.MaxSkew)),
	}
	e.account.neighbour = it.Neighbour && e.account.source.IsValid()
	e.until = e.end
	if it.Life > 0 {
		e.until = min(e.until, t+int64(it.Life))
	}
	return e
}

// rival returns the held entry that e would replace, or nil.
func (m *Memory) rival(e *entry) *entry {
	for o := m.slots[e.slot]; o != nil; o = o.next {
		if !shared(e.slot.kind) || o.record.Record.Publisher == e.record.Record.Publisher {
			return o
		}
	}
	return nil
}

// The verdicts on a newcomer.
const (
	newer = iota // it replaces the old one
	known        // the old one says the same
	stale        // the old one stands
)

// verdict decides between what is held and a newcomer that is its rival.
func verdict(old, e *entry) int {
	if old.record == nil {
		if e.seq < old.seq {
			return stale
		}
		return newer
	}
	if bytes.Equal(old.record.Payload, e.record.Payload) {
		return known
	}
	if e.slot.kind == wire.KindContent {
		if wire.Better(e.record, old.record) && e.until >= old.until {
			return newer
		}
		return known // the value is the same, and lives as long
	}
	if wire.Newer(e.record, old.record) {
		return newer
	}
	return stale
}

// renew notes that what old holds was offered again, as e.
func (m *Memory) renew(old, e *entry, loud bool) {
	if !loud {
		old.received = e.received
	}
	old.until = min(old.end, max(old.until, e.until))
	if old.cached && !e.cached {
		old.cached = false
		heap.Fix(&m.order, old.index)
	}
}

// insert adds e to all that counts it.
func (m *Memory) insert(e *entry) {
	at := m.slots[e.slot]
	if at == nil || e.record == nil || wire.Better(e.record, at.record) {
		e.next = at
		m.slots[e.slot] = e
	} else {
		for at.next != nil && wire.Better(at.next.record, e.record) {
			at = at.next
		}
		e.next, at.next = at.next, e
	}
	heap.Push(&m.order, e)
	m.use.charge(e, e.size)
	if e.record != nil {
		m.live++
	}
}

// remove takes e out of all that counts it.
func (m *Memory) remove(e *entry) {
	if at := m.slots[e.slot]; at == e {
		if e.next == nil {
			delete(m.slots, e.slot)
		} else {
			m.slots[e.slot] = e.next
		}
	} else {
		for at.next != e {
			at = at.next
		}
		at.next = e.next
	}
	e.next = nil
	heap.Remove(&m.order, e.index)
	m.use.charge(e, -e.size)
	if e.record != nil {
		m.live--
	}
}

// Get implements [Store].
func (m *Memory) Get(now time.Time, kind wire.Kind, key routing.Key, n int) []*wire.Signed {
	m.mu.RLock()
	defer m.mu.RUnlock()
	t := m.tick(now)
	var out []*wire.Signed
	for e := m.slots[slot{key, kind}]; e != nil && len(out) < n; e = e.next {
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
	t := m.tick(now)
	for e := m.slots[slot{r.Record.Key, r.Record.Kind}]; e != nil; e = e.next {
		if e.alive(t) && e.record.Signature == r.Signature && bytes.Equal(e.record.Payload, r.Payload) {
			return true
		}
	}
	return false
}

// All implements [Store].
func (m *Memory) All(now time.Time) iter.Seq[Held] {
	return func(yield func(Held) bool) {
		m.mu.RLock()
		entries := append([]*entry(nil), m.order...)
		m.mu.RUnlock()
		for _, e := range entries {
			if h, ok := m.held(now, e); ok && !yield(h) {
				return
			}
		}
	}
}

func (m *Memory) held(now time.Time, e *entry) (Held, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if e.index < 0 || !e.alive(m.tick(now)) {
		return Held{}, false
	}
	r := &e.record.Record
	return Held{
		Kind: r.Kind, Key: r.Key, Publisher: r.Publisher, Seq: r.Seq, Expiry: r.Expiry,
		Print: e.record.Print(), Size: e.record.Size(), Cached: e.cached,
		Received: m.base.Add(time.Duration(e.received)), Until: m.base.Add(time.Duration(e.until)),
	}, true
}

// find returns the live entry of that very record, or nil. The caller holds mu.
func (m *Memory) find(t int64, kind wire.Kind, key routing.Key, p wire.Print) *entry {
	for e := m.slots[slot{key, kind}]; e != nil; e = e.next {
		if e.alive(t) && e.record.Print() == p {
			return e
		}
	}
	return nil
}

// Load implements [Store].
func (m *Memory) Load(now time.Time, h Held) *wire.Signed {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if e := m.find(m.tick(now), h.Kind, h.Key, h.Print); e != nil {
		return e.record
	}
	return nil
}

// Offer implements [Store].
func (m *Memory) Offer(now time.Time, offered []wire.Offered, quiet func(i int) bool) (want []bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.tick(now)
	want = make([]bool, len(offered))
	for i, o := range offered {
		e := m.find(t, o.Kind, o.Key, o.Print)
		want[i] = e == nil
		if e != nil && quiet != nil && quiet(i) {
			e.received = t
		}
	}
	return want
}

// Seq implements [Store].
func (m *Memory) Seq(now time.Time, key routing.Key) (uint64, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	t := m.tick(now)
	e := m.slots[slot{key, wire.KindOwned}]
	return e.highest(t), e != nil && (e.alive(t) || t < e.seqUntil)
}

// Len implements [Store]: remembered sequence numbers are not counted.
func (m *Memory) Len() int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.live
}

// Bytes implements [Store]: remembered sequence numbers are.
func (m *Memory) Bytes() int64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.use.bytes
}

// Close implements [Store]. There is nothing to release.
func (m *Memory) Close() error { return nil }
