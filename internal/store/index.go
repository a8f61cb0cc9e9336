package store

import (
	"bytes"
	"container/heap"
	"net/netip"
	"time"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// An index is the policy of a store: which records it holds, for how long, and which ones
// give way. It does no I/O, and has no lock and no clock.
//
// When it is full, cached copies and remembered sequence numbers give way, those far from the
// node's own key first. No other record does, because it was acknowledged: a new one is refused.
// Shares by network keep room for honest publishers (Limits.ShareBytes).
type index struct {
	self   routing.Key
	limits Limits

	base  time.Time // ticks count from it; of the first Put if not set before
	slots map[slot]*entry
	order []*entry // all entries, a heap: those that give way first at the top
	heap  farthest
	use   usage
	live  int   // entries with a record
	swept int64 // tick of the last sweep that put made for want of room

	// load reads the record of an entry that keeps none itself, for the rare
	// comparison that needs it; nil: it is lost. Memory has none.
	load func(*entry) *wire.Signed
	log  *journal // notes every change, unless nil
}

func newIndex(self routing.Key, l Limits) *index {
	x := &index{
		self: self, limits: l.withDefaults(),
		slots: make(map[slot]*entry), use: usage{by: make(map[account]*tally), wider: make(map[netip.Prefix]int64)},
	}
	x.heap = farthest{x}
	return x
}

// tick converts a time.
func (x *index) tick(now time.Time) int64 { return int64(now.Sub(x.base)) }

// time is the inverse of tick.
func (x *index) time(t int64) time.Time { return x.base.Add(time.Duration(t)) }

// begin sets the base of ticks if it is not set.
func (x *index) begin(now time.Time) {
	if x.base.IsZero() {
		x.base = now
	}
}

func (x *index) payload(e *entry) *wire.Signed {
	if e.record == nil && x.load != nil {
		return x.load(e)
	}
	return e.record
}

func (x *index) put(now time.Time, it *Item) wire.Code {
	r := it.Record
	if r == nil || !storable(r.Record.Kind) || it.IfSeq != nil && r.Record.Kind != wire.KindOwned {
		return wire.CodeInvalid
	}
	t := x.tick(now)
	e := newEntry(now, t, it)
	if e.until <= t {
		return wire.CodeExpired
	}
	old := x.rival(e.slot, e.publisher)
	if old != nil && !old.tomb && !old.alive(t) {
		old = x.end(old) // it has ended, but was not swept yet
	}
	verdict := newer
	if old != nil {
		verdict = x.judge(old, e)
	}
	if it.IfSeq != nil && verdict != known {
		if seq, _ := old.highest(t); seq != *it.IfSeq {
			return wire.CodeConflict
		}
	}
	switch verdict {
	case stale:
		return wire.CodeStale
	case known:
		x.renew(old, e, it.NoSuppress)
		return wire.CodeOK
	}
	a := accountOf(it.Source)
	a.neighbour = it.Neighbour && a.source.IsValid()
	e.from = x.use.tally(a)
	e.from.share = 0
	if it.Neighbours > 0 {
		e.from.share = x.neighbourShare(it.Neighbours)
	}
	return x.replace(old, e, t)
}

// fewNeighbours is in how small a network each neighbour may use its part of the store: the
// records of this node can come from any of them. In a larger one neighbours are strangers.
const fewNeighbours = 8

// neighbourShare returns how many bytes one of so many neighbours may use; 0: no more than others.
// A single one may use three quarters, which leaves room for the node's user and later peers.
func (x *index) neighbourShare(neighbours int) int64 {
	if neighbours > fewNeighbours {
		return 0
	}
	return min(x.limits.Bytes/int64(neighbours), x.limits.Bytes-x.limits.Bytes/4)
}

// replace inserts e in place of old, which may be nil, if the quotas allow.
func (x *index) replace(old, e *entry, t int64) wire.Code {
	if old != nil {
		x.remove(old)
	}
	c := x.admit(e, old, t)
	if c != wire.CodeOK && old != nil {
		x.insert(old)
	}
	return c
}

func newEntry(now time.Time, t int64, it *Item) *entry {
	r := it.Record
	e := entryOf(r)
	e.record, e.dirty, e.cached = r, true, it.Cached
	e.received, e.forget = t, t+int64(SeqMemory)
	e.end = t + int64(min(max(r.Record.Expiry.Sub(now), 0), wire.MaxTTL+wire.MaxSkew))
	e.until = e.end
	if it.Life > 0 {
		e.until = min(e.until, t+int64(it.Life))
	}
	return e
}

// entryOf fills in the fields that the record determines.
func entryOf(r *wire.Signed) *entry {
	return &entry{
		slot: slot{r.Record.Key, r.Record.Kind}, publisher: r.Record.Publisher, print: r.Print(),
		expiry: r.Record.Expiry.UnixMilli(), seq: r.Record.Seq,
		size: int32(sizeOf(r)), wire: int32(r.Size()), index: -1,
	}
}

// rival returns the held entry that a record of that publisher would replace, or nil.
func (x *index) rival(s slot, publisher wire.PeerID) *entry {
	for o := x.slots[s]; o != nil; o = o.next {
		if !shared(s.kind) || o.publisher == publisher {
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

// judge decides between a held record and a new one that competes with it.
func (x *index) judge(old, e *entry) int {
	if old.tomb {
		if e.seq < old.seq {
			return stale
		}
		return newer
	}
	if old.print == e.print && old.seq == e.seq && old.expiry == e.expiry && old.size == e.size {
		return known // of one publisher's making, if it were not so after all
	}
	if e.slot.kind == wire.KindContent {
		if x.better(e, old) && e.until >= old.until {
			return newer
		}
		return known // the value is the same, and lives as long
	}
	// wire.Newer: the higher sequence, the later expiry, the smaller hash.
	switch {
	case e.seq != old.seq:
		return pick(e.seq > old.seq)
	case e.expiry != old.expiry:
		return pick(e.expiry > old.expiry)
	}
	r := x.payload(old)
	switch {
	case r == nil:
		return newer
	case bytes.Equal(r.Payload, e.record.Payload):
		return known
	}
	return pick(wire.Newer(e.record, r))
}

func pick(isNewer bool) int {
	if isNewer {
		return newer
	}
	return stale
}

// renew notes that what old holds was offered again, as e.
func (x *index) renew(old, e *entry, noSuppress bool) {
	if old.renewable(e) {
		x.log.changed(old)
		old.until, old.dirty = min(old.end, max(old.until, e.until)), true
		if old.cached && !e.cached {
			old.cached = false
			heap.Fix(x.heap, int(old.index))
		}
	}
	if !noSuppress {
		old.received = e.received
	}
}

// renewable reports whether the arrival of e changes more of old than its time of receipt.
func (old *entry) renewable(e *entry) bool {
	return min(old.end, e.until) > old.until || old.cached && !e.cached
}

// insert adds e to the index and its counts.
func (x *index) insert(e *entry) {
	x.log.inserted(e)
	at := x.slots[e.slot]
	if at == nil || e.tomb || x.better(e, at) {
		e.next = at
		x.slots[e.slot] = e
	} else {
		for at.next != nil && x.better(at.next, e) {
			at = at.next
		}
		e.next, at.next = at.next, e
	}
	heap.Push(x.heap, e)
	x.use.charge(e, int64(e.size))
	if !e.tomb {
		x.live++
	}
}

// remove removes e from the index and its counts.
func (x *index) remove(e *entry) {
	x.log.removed(e)
	if at := x.slots[e.slot]; at == e {
		if e.next == nil {
			delete(x.slots, e.slot)
		} else {
			x.slots[e.slot] = e.next
		}
	} else {
		for at.next != e {
			at = at.next
		}
		at.next = e.next
	}
	e.next = nil
	heap.Remove(x.heap, int(e.index))
	x.use.charge(e, -int64(e.size))
	if !e.tomb {
		x.live--
	}
}

// find returns the live entry of exactly that record, or nil.
func (x *index) find(t int64, s slot, p wire.Print) *entry {
	for e := x.slots[s]; e != nil; e = e.next {
		if e.print == p && e.alive(t) {
			return e
		}
	}
	return nil
}

// end removes e, whose time is over, and returns the entry left in its place: nil,
// or the remembered sequence number.
func (x *index) end(e *entry) *entry {
	x.remove(e)
	tomb := e.grave()
	if tomb != nil {
		x.insert(tomb)
	}
	return tomb
}

// sweep drops entries that have ended at tick t, at most limit. It returns the number of
// records among them, and whether it is done.
func (x *index) sweep(t int64, limit int) (n int, done bool) {
	var over []*entry
	done = true
	for _, e := range x.order {
		if e.until <= t || e.bad {
			if len(over) == limit {
				done = false
				break
			}
			over = append(over, e)
		}
	}
	n = x.live
	for _, e := range over {
		x.end(e)
	}
	return n - x.live, done
}

func (x *index) held(e *entry) Held {
	return Held{
		Kind: e.slot.kind, Key: e.slot.key, Publisher: e.publisher, Seq: e.seq, Expiry: time.UnixMilli(e.expiry).UTC(),
		Print: e.print, Size: int(e.wire), Received: x.time(e.received), Until: x.time(e.until), Cached: e.cached,
	}
}
