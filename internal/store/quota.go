package store

import (
	"net/netip"

	"github.com/kadquic/kadquic/wire"
)

// Limits bound a store. The zero value is the default of each.
type Limits struct {
	// Bytes bounds the room of all that is held. If zero, 64 MiB.
	Bytes int64
	// Records bounds their number. If zero, 100,000.
	Records int
	// SourceBytes bounds what one source may have put here, a source being an
	// IPv4 /24 or an IPv6 /64. If zero, 4 MiB.
	SourceBytes int64
	// NeighbourBytes does so for one that is in our complete subtree.
	// If zero, a quarter of Bytes.
	NeighbourBytes int64
	// KeyBytes and KeyRecords bound the records of one kind under one key, of the
	// kinds of which several publishers' stand side by side.
	// If zero, 64 KiB and 64.
	KeyBytes   int64
	KeyRecords int
}

func (l Limits) withDefaults() Limits {
	def := func(v *int64, d int64) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&l.Bytes, 64<<20)
	def(&l.SourceBytes, 4<<20)
	def(&l.NeighbourBytes, l.Bytes/4)
	def(&l.KeyBytes, 64<<10)
	if l.Records <= 0 {
		l.Records = 100_000
	}
	if l.KeyRecords <= 0 {
		l.KeyRecords = 64
	}
	return l
}

// Overhead is what every record is counted beyond its payload: what it costs to
// keep it in memory, measured, so that tiny records cannot take more than Bytes.
const Overhead = 768

// tombSize is the same for a remembered sequence number.
const tombSize = 384

func sizeOf(r *wire.Signed) int64 { return Overhead + int64(len(r.Payload)) }

// An account is whom an entry's bytes are counted against.
type account struct {
	source    netip.Prefix // the zero Prefix: nobody
	neighbour bool
}

// accountOf returns the account of a sender.
func accountOf(a netip.Addr) account {
	a = a.Unmap().WithZone("")
	if !a.IsValid() || a.IsLoopback() {
		return account{}
	}
	bits := 24
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // fails for an invalid length only
	return account{source: p}
}

// usage counts bytes, in all and by account. Guarded by Memory.mu.
type usage struct {
	bytes int64
	by    map[account]int64
}

// fits reports whether the quota of e's source has room for it.
func (u *usage) fits(e *entry, l Limits) bool {
	if !e.account.source.IsValid() {
		return true
	}
	limit := l.SourceBytes
	if e.account.neighbour {
		limit = l.NeighbourBytes
	}
	return u.by[e.account]+e.size <= limit
}

// charge counts n bytes, which may be negative, against e's source.
func (u *usage) charge(e *entry, n int64) {
	u.bytes += n
	if !e.account.source.IsValid() {
		return
	}
	if u.by[e.account] += n; u.by[e.account] == 0 {
		delete(u.by, e.account)
	}
}

// storable reports whether records of kind k are held at all.
func storable(k wire.Kind) bool { return k >= wire.KindContent && k <= wire.KindProvider }

// shared reports whether several publishers' records stand side by side.
func shared(k wire.Kind) bool { return k == wire.KindOpen || k == wire.KindProvider }

// before reports whether e gives way before o when room is short: remembered
// sequence numbers first, then cached copies, then by distance from our key, and
// under one key the worse record.
func (e *entry) before(o *entry) bool {
	if a, b := e.rank(), o.rank(); a != b {
		return a < b
	}
	if c := e.distance.Cmp(o.distance); c != 0 {
		return c > 0
	}
	return e.record != nil && wire.Better(o.record, e.record)
}

func (e *entry) rank() int {
	switch {
	case e.record == nil:
		return 0
	case e.cached:
		return 1
	}
	return 2
}

// farthest is the heap (container/heap) of all entries by before.
type farthest []*entry

func (f farthest) Len() int           { return len(f) }
func (f farthest) Less(i, j int) bool { return f[i].before(f[j]) }
func (f farthest) Swap(i, j int) {
	f[i], f[j] = f[j], f[i]
	f[i].index, f[j].index = i, j
}

func (f *farthest) Push(x any) {
	e := x.(*entry)
	e.index = len(*f)
	*f = append(*f, e)
}

func (f *farthest) Pop() any {
	s := *f
	e := s[len(s)-1]
	s[len(s)-1] = nil
	*f = s[:len(s)-1]
	e.index = -1
	return e
}
