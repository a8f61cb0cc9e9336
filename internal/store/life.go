package store

import (
	"encoding/binary"
	"hash/fnv"
	"time"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// SeqMemory is how long the highest sequence number of an owned key is remembered
// after it was first seen, though its record ended: whoever kept an older record
// cannot bring it back.
const SeqMemory = 7 * 24 * time.Hour

// maxShared is the longest life of a cached copy whose value may change.
const maxShared = 5 * time.Minute

// sweepEvery is how often Put at most looks through everything for what has ended,
// when there is no room.
const sweepEvery = time.Second

// CacheLife returns how long to keep a record that lives for left, at a node that
// knows nearer nodes nearer to its key than itself: all of it within the k nearest,
// half for every node beyond (Kademlia §2.3 wants it to fall exponentially), and
// for owned and open records at most 5 minutes there.
func CacheLife(kind wire.Kind, left time.Duration, nearer, k int) time.Duration {
	if nearer <= k {
		return left
	}
	left >>= min(nearer-k, 62)
	if kind == wire.KindOwned || kind == wire.KindOpen {
		left = min(left, maxShared)
	}
	return left
}

// alive reports whether e is a record and has not ended at tick t.
func (e *entry) alive(t int64) bool { return e.record != nil && t < e.until }

// highest returns the sequence number that e, of an owned key and perhaps nil,
// holds or remembers at tick t; 0 if none.
func (e *entry) highest(t int64) uint64 {
	if e == nil || !e.alive(t) && e.seqUntil <= t {
		return 0
	}
	return e.seq
}

// tomb returns what is to be remembered of e after its end, nil if nothing.
func (e *entry) tomb() *entry {
	if e.slot.kind != wire.KindOwned || e.record == nil || e.seq == 0 {
		return nil
	}
	return &entry{
		slot: e.slot, distance: e.distance, seq: e.seq, seqUntil: e.seqUntil, until: e.seqUntil,
		size: tombSize, account: e.account, index: -1,
	}
}

// end removes e, whose time is over, and returns the entry left in its place: nil,
// or the remembered sequence number.
func (m *Memory) end(e *entry) *entry {
	m.remove(e)
	tomb := e.tomb()
	if tomb != nil {
		m.insert(tomb)
	}
	return tomb
}

// Expire implements [Store].
func (m *Memory) Expire(now time.Time) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.sweep(m.tick(now))
}

// sweep drops what has ended at tick t and returns how many records that were.
func (m *Memory) sweep(t int64) int {
	var over []*entry
	for _, e := range m.order {
		if e.until <= t {
			over = append(over, e)
		}
	}
	n := m.live
	for _, e := range over {
		m.end(e)
	}
	return n - m.live
}

// RepublishAt is when the holder whose key is self sends h to the k nearest again:
// interval after it was last received, and up to a quarter more by a jitter that
// differs by holder and by round, so that usually one of 20 holders comes first
// and silences the others (Kademlia §2.5). What was received before since, the
// start of the process, comes due evenly over the first interval after it: a
// restart is no storm.
func RepublishAt(self routing.Key, h Held, since time.Time, interval time.Duration) time.Time {
	sum := fnv.New64a()
	sum.Write(self[:])
	sum.Write(h.Print[:])
	sum.Write(binary.LittleEndian.AppendUint64(nil, uint64(h.Received.UnixNano())))
	x := sum.Sum64()
	x ^= x >> 32 // FNV's high bits are its poorest
	x *= 0xd6e8feb86659fd93
	jitter := float64(x>>11) / (1 << 53)
	if h.Received.Before(since) {
		return since.Add(time.Duration(jitter * float64(interval)))
	}
	return h.Received.Add(interval + time.Duration(jitter*float64(interval/4)))
}
