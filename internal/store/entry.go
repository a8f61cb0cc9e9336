package store

import (
	"bytes"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// A slot is where records compete: kinds never do.
type slot struct {
	key  routing.Key
	kind wire.Kind
}

// An entry describes one record in the index, or, after the end of an owned record, the sequence
// number below which no other is accepted. It holds no payload, so that a hundred thousand
// entries stay small. Times are ticks, nanoseconds since index.base, except expiry.
type entry struct {
	slot      slot
	publisher wire.PeerID
	print     wire.Print
	tomb      bool // only seq is remembered
	cached    bool
	bad       bool // its payload was found damaged: as good as gone
	dirty     bool // the file does not say the same yet (Disk)

	record *wire.Signed // in Memory always, in Disk until it is committed
	next   *entry       // under the same slot; open and provider only, the better first
	from   *tally
	hash   *[32]byte // of the record, once a tie has needed it

	expiry   int64 // as signed, Unix milliseconds
	end      int64 // of the record's signed life, by the clock at receipt
	until    int64 // when it is dropped; at most end, except for a remembered seq
	received int64 // last Put of exactly this record
	forget   int64 // when seq is remembered no longer
	seq      uint64

	size  int32 // as counted: payload and Overhead
	wire  int32 // of the Signed as on the wire
	index int32 // in index.order; -1: not held any more
}

// alive reports whether e is a record and has not ended at tick t.
func (e *entry) alive(t int64) bool { return !e.tomb && !e.bad && t < e.until }

// highest returns the sequence number that e, of an owned key and perhaps nil,
// holds or remembers at tick t; false if none.
func (e *entry) highest(t int64) (uint64, bool) {
	if e == nil || !e.alive(t) && e.forget <= t {
		return 0, false
	}
	return e.seq, true
}

// grave returns the entry that remembers e after its end, or nil if none does.
func (e *entry) grave() *entry {
	if e.slot.kind != wire.KindOwned || e.tomb || e.seq == 0 {
		return nil
	}
	return &entry{
		slot: e.slot, tomb: true, dirty: true, seq: e.seq, forget: e.forget, until: e.forget,
		received: e.received, size: tombSize, from: e.from, index: -1,
	}
}

func (e *entry) rank() int {
	switch {
	case e.tomb:
		return 0
	case e.cached:
		return 1
	}
	return 2
}

// better reports whether a stands before b under one key, as wire.Better does. It
// needs the payloads only for a tie, and each only once: a stranger may make a thousand
// records that tie. It writes to the entries, so the lock must be held for writing.
func (x *index) better(a, b *entry) bool {
	switch {
	case a.expiry != b.expiry:
		return a.expiry > b.expiry
	case a.seq != b.seq:
		return a.seq > b.seq
	}
	if ha, hb := x.hash(a), x.hash(b); ha != nil && hb != nil {
		return bytes.Compare(ha[:], hb[:]) < 0
	}
	return bytes.Compare(a.print[:], b.print[:]) < 0
}

// hash returns the hash of e's record, nil if the record is lost.
func (x *index) hash(e *entry) *[32]byte {
	if e.hash == nil {
		if r := x.payload(e); r != nil {
			h := r.Hash()
			e.hash = &h
		}
	}
	return e.hash
}

// before reports whether e gives way before o when room is short: remembered
// sequence numbers first, then cached copies, then by distance from the node's key, and
// under one key the worse record.
func (x *index) before(e, o *entry) bool {
	if a, b := e.rank(), o.rank(); a != b {
		return a < b
	}
	if c := x.self.CompareDistance(e.slot.key, o.slot.key); c != 0 {
		return c > 0
	}
	return !e.tomb && x.better(o, e)
}

// farthest is the heap (container/heap) of all entries by before.
type farthest struct {
	*index
}

func (f farthest) Len() int           { return len(f.order) }
func (f farthest) Less(i, j int) bool { return f.before(f.order[i], f.order[j]) }
func (f farthest) Swap(i, j int) {
	o := f.order
	o[i], o[j] = o[j], o[i]
	o[i].index, o[j].index = int32(i), int32(j)
}

func (f farthest) Push(x any) {
	e := x.(*entry)
	e.index = int32(len(f.order))
	f.order = append(f.order, e)
}

func (f farthest) Pop() any {
	s := f.order
	e := s[len(s)-1]
	s[len(s)-1] = nil
	f.order = s[:len(s)-1]
	e.index = -1
	return e
}
