package sim

import (
	"crypto/ed25519"
	"encoding/binary"
	"slices"
	"time"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// kind is the kind of all records.
const kind = wire.KindContent

// A record is the simulator's own view of one record; nodes do not see it.
type record struct {
	signed *wire.Signed
	key    routing.Key
	put    bool // its publisher has been told that it is stored
	lost   bool // no living node held it at a census since
	copies int  // living nodes that held it at the last one
}

// The ledger keeps the truth about all records.
type ledger struct {
	records []record
	by      map[routing.Key]int
}

// newLedger makes the records of a world, which expire 24 hours after the last of
// them are put.
func newLedger(w *World) ledger {
	l := ledger{make([]record, w.o.Records), make(map[routing.Key]int, w.o.Records)}
	publisher := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	for i := range l.records {
		value := make([]byte, w.o.Size)
		binary.BigEndian.PutUint64(value, w.o.Seed)
		binary.BigEndian.PutUint64(value[8:], uint64(i))
		s, err := wire.Sign(wire.Record{Kind: kind, Seq: 1, Expiry: w.start.Add(w.o.Put + arrival + 24*time.Hour), Value: value}, publisher)
		if err != nil {
			panic(err) // Size is not one
		}
		l.records[i] = record{signed: s, key: s.Record.Key}
		l.by[s.Record.Key] = i
	}
	return l
}

func (l *ledger) of(key routing.Key) *record { return &l.records[l.by[key]] }

// census counts the holders of each record. A record without holders stays lost, so a
// loss between two censuses is seen.
func (w *World) census() {
	records := w.ledger.records
	for i := range records {
		records[i].copies = 0
	}
	now := w.now()
	for _, i := range w.alive {
		for h := range w.nodes[i].store.All(now) {
			w.ledger.of(h.Key).copies++
		}
	}
	for i := range records {
		if r := &records[i]; r.copies == 0 && r.put && !r.lost && !r.over(now) {
			r.lost = true
			w.report.Lost++
		}
	}
}

// over reports whether the record's own life is over, or so nearly that a get may
// come too late.
func (r *record) over(now time.Time) bool {
	return r.signed.Record.Expiry.Sub(now) < time.Minute
}

const (
	sampleEvery = 10 * time.Minute
	samples     = 500 // records, and nodes, looked at each time
)

// sampleOften compares what is with what should be, from time to time.
func (w *World) sampleOften() {
	w.after(sampleEvery, w.sampleOften)
	w.census()
	for range min(samples, len(w.ledger.records)) {
		if r := &w.ledger.records[w.rnd.IntN(len(w.ledger.records))]; r.put && !r.over(w.now()) {
			w.sampleRecord(r)
		}
	}
	for range samples {
		if n := w.joined(); n != nil {
			w.sampleNode(n)
		}
	}
}

func (w *World) sampleRecord(r *record) {
	near, held := w.nearest(r.key), 0
	for _, n := range near {
		if n.holds(r) {
			held++
		}
	}
	if w.report.Held.N == 0 || held < w.report.Least {
		w.report.Least = held
	}
	if held < few {
		w.report.Few++
	}
	w.report.Held.add(float64(held) / float64(len(near)))
	w.report.Copies.add(float64(r.copies))
}

func (w *World) sampleNode(n *node) {
	depth, dead, all := n.table.Complete(), 0, 0
	for c := range n.table.All() {
		if n.Key.CommonPrefixLen(c.Key) < depth || n.table.Marked(c.Key) {
			continue
		}
		all++
		if w.nodes[c.Addr] == nil {
			dead++
		}
	}
	w.report.Neighbours.add(float64(all))
	w.report.Dead.add(float64(dead) / float64(max(all, 1)))
	if key := routing.RandomKey(n.Key, depth, w.src); n.table.Covers(key) {
		near, missing := w.nearest(key), 0
		for _, o := range near {
			if o != n && !n.table.Contains(o.Key) {
				missing++
			}
		}
		w.report.Missing.add(float64(missing) / float64(len(near)))
	}
}

// nearest returns the k living nodes nearest to key.
func (w *World) nearest(key routing.Key) []*node {
	near := make([]*node, 0, routing.DefaultK+1)
	for _, i := range w.alive {
		n := w.nodes[i]
		if len(near) == routing.DefaultK && key.CompareDistance(n.Key, near[len(near)-1].Key) > 0 {
			continue
		}
		at, _ := slices.BinarySearchFunc(near, n, func(a, b *node) int { return key.CompareDistance(a.Key, b.Key) })
		near = slices.Insert(near, at, n)
		near = near[:min(len(near), routing.DefaultK)]
	}
	return near
}
