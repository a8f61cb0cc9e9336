package store

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/kadquic/kadquic/wire"
)

// The plain model: one list, searched and sorted again every time. It has no quota of
// sources, which TestSourceQuota covers.
type model struct {
	limits Limits
	list   []*modelEntry
}

type modelEntry struct {
	r          *wire.Signed
	dead       bool // only the sequence is remembered
	cached     bool
	until, end time.Time
	received   time.Time
	forget     time.Time // of the sequence
}

func (e *modelEntry) size() int64 {
	if e.dead {
		return tombSize
	}
	return Overhead + int64(len(e.r.Payload))
}

func sameSlot(a, b *wire.Signed) bool {
	return a.Record.Kind == b.Record.Kind && a.Record.Key == b.Record.Key
}

func several(r *wire.Signed) bool {
	return r.Record.Kind == wire.KindOpen || r.Record.Kind == wire.KindProvider
}

// bury ends e: it is dropped, or its sequence stays.
func (m *model) bury(e *modelEntry, tomb bool) {
	if tomb && !e.dead && e.r.Record.Kind == wire.KindOwned {
		e.dead, e.until = true, e.forget
		return
	}
	m.list = slices.DeleteFunc(m.list, func(x *modelEntry) bool { return x == e })
}

func (m *model) expire(now time.Time) (n int) {
	for _, e := range slices.Clone(m.list) {
		if !e.until.After(now) {
			if !e.dead {
				n++
			}
			m.bury(e, true)
		}
	}
	return n
}

// fits reports whether list is within the limits of the store.
func (m *model) fits(list []*modelEntry) bool {
	var size int64
	for _, e := range list {
		size += e.size()
	}
	return size <= m.limits.Bytes && len(list) <= m.limits.Records
}

// fitsKey reports whether list is within the limits of one key.
func (m *model) fitsKey(list []*modelEntry) bool {
	var size int64
	for _, e := range list {
		size += e.size()
	}
	return size <= m.limits.KeyBytes && len(list) <= m.limits.KeyRecords
}

// admitKey returns the records that stay under one key, best first, when e, one of them,
// replaces old, which may be nil. It returns false if e does not stay. All are records of the
// node's own user, so each publisher counts separately and no share applies.
func (m *model) admitKey(under []*modelEntry, e, old *modelEntry) (stay []*modelEntry, ok bool) {
	open := e.r.Record.Kind == wire.KindOpen
	if open && old != nil && !old.dead && e.size() <= old.size() && (e.cached || !old.cached) {
		return under, true
	}
	if open {
		firm := slices.DeleteFunc(slices.Clone(under), func(x *modelEntry) bool { return x != e && x.cached && !e.cached })
		if !m.fitsKey(firm) {
			return nil, false
		}
	}
	drop := func(may func(*modelEntry) bool) {
		for i := len(under) - 1; i >= 0 && !m.fitsKey(under); i-- {
			if may(under[i]) {
				under = slices.Delete(under, i, i+1)
			}
		}
	}
	drop(func(x *modelEntry) bool { return x.cached && !e.cached })
	drop(func(x *modelEntry) bool { return true })
	return under, slices.Contains(under, e)
}

func (m *model) put(now time.Time, it Item) wire.Code {
	e := &modelEntry{r: it.Record, cached: it.Cached, end: it.Record.Record.Expiry, received: now, forget: now.Add(SeqMemory)}
	e.until = e.end
	if it.Life > 0 && now.Add(it.Life).Before(e.end) {
		e.until = now.Add(it.Life)
	}
	if !e.until.After(now) {
		return wire.CodeExpired
	}
	i := slices.IndexFunc(m.list, func(x *modelEntry) bool {
		return sameSlot(x.r, e.r) && (!several(e.r) || x.r.Record.Publisher == e.r.Record.Publisher)
	})
	var old *modelEntry
	if i >= 0 {
		old = m.list[i]
		if !old.until.After(now) {
			if m.bury(old, true); !old.dead || !slices.Contains(m.list, old) {
				old = nil
			}
		}
	}
	renew := func() wire.Code {
		if !it.NoSuppress {
			old.received = now
		}
		old.cached = old.cached && e.cached
		if e.until.After(old.until) {
			old.until = e.until
		}
		if old.end.Before(old.until) {
			old.until = old.end
		}
		return wire.CodeOK
	}
	if it.IfSeq != nil {
		if seq, _ := m.seq(now, e.r); seq != *it.IfSeq && (old == nil || old.dead || !same(old.r, e.r)) {
			return wire.CodeConflict
		}
	}
	switch {
	case old == nil:
	case old.dead:
		if e.r.Record.Seq < old.r.Record.Seq {
			return wire.CodeStale
		}
	case string(old.r.Payload) == string(e.r.Payload):
		return renew()
	case e.r.Record.Kind == wire.KindContent:
		if !wire.Better(e.r, old.r) || e.until.Before(old.until) {
			return renew()
		}
	case !wire.Newer(e.r, old.r):
		return wire.CodeStale
	}
	rest := slices.DeleteFunc(slices.Clone(m.list), func(x *modelEntry) bool { return x == old })
	rest = append(rest, e)
	var under []*modelEntry
	if several(e.r) {
		under = slices.DeleteFunc(slices.Clone(rest), func(x *modelEntry) bool { return !sameSlot(x.r, e.r) })
		slices.SortFunc(under, func(a, b *modelEntry) int { return worse(b, a) })
		var ok bool
		if under, ok = m.admitKey(under, e, old); !ok {
			return wire.CodeFull
		}
	}
	// Limits of the store: the worst records give way first (the node's key is zero, so
	// the greater key is the farther), until the list fits or e is the worst.
	order := slices.Clone(rest)
	slices.SortStableFunc(order, func(a, b *modelEntry) int {
		rank := func(e *modelEntry) int {
			switch {
			case e.dead:
				return 0
			case e.cached:
				return 1
			}
			return 2
		}
		return cmp.Or(rank(a)-rank(b), bytes.Compare(b.r.Record.Key[:], a.r.Record.Key[:]), worse(a, b))
	})
	var gone []*modelEntry
	for !m.fits(order) {
		if order[0] == e || !order[0].dead && !order[0].cached { // an acknowledged record never gives way
			if e.cached {
				return wire.CodeTooFar
			}
			return wire.CodeFull
		}
		gone = append(gone, order[0])
		order = order[1:]
	}
	for _, g := range gone {
		tomb := *g
		if tomb.dead || tomb.r.Record.Kind != wire.KindOwned {
			continue
		}
		tomb.dead, tomb.until = true, tomb.forget
		if m.fits(append(slices.Clone(order), &tomb)) {
			order = append(order, &tomb)
		}
	}
	m.list = order
	if several(e.r) {
		m.list = slices.DeleteFunc(m.list, func(x *modelEntry) bool {
			return sameSlot(x.r, e.r) && !slices.Contains(under, x)
		})
	}
	return wire.CodeOK
}

// worse puts the worse of two records first.
func worse(a, b *modelEntry) int {
	switch {
	case wire.Better(b.r, a.r):
		return -1
	case wire.Better(a.r, b.r):
		return 1
	}
	return 0
}

func (m *model) get(now time.Time, like *wire.Signed) (out []*wire.Signed) {
	for _, e := range m.list {
		if !e.dead && sameSlot(e.r, like) && e.until.After(now) {
			out = append(out, e.r)
		}
	}
	slices.SortFunc(out, func(a, b *wire.Signed) int { return worse(&modelEntry{r: b}, &modelEntry{r: a}) })
	return out
}

// universe returns all records of the property test: each kind, few keys, few publishers,
// several sequences and lives, two sizes.
func universe(t testing.TB) (all []*wire.Signed) {
	lives := []time.Duration{time.Minute, 5 * time.Minute, 20 * time.Minute}
	for i := range 3 {
		for j, life := range lives {
			value := fmt.Sprintf("%0*d", 1+400*(j%2), i)
			for k := range 3 {
				all = append(all,
					open(t, 100*k, i, uint64(3-j), after(life+time.Duration(k)), value),
					provider(t, 100*k, i, uint64(3-j), after(life), j == 1),
					owned(t, fmt.Sprint(k), i, uint64(1+j), after(life), value),
					owned(t, fmt.Sprint(k), i, uint64(1+j), after(2*life), value),
					content(t, i, after(life), fmt.Sprintf("content %d", k)),
				)
			}
		}
	}
	return all
}

// A tested store exposes its index to the tests.
type tested interface {
	Store
	ledgerOf() *ledger
}

func (l *ledger) ledgerOf() *ledger { return l }

// After any sequence of operations, Memory gives the same answers and holds the same records
// as the plain model, and its counts are correct.
func TestAgainstModel(t *testing.T) {
	againstModel(t, func(_ *rapid.T, l Limits) tested { return newMemory(l) }, nil)
}

// The same holds for Disk, although it is closed and reopened at any moment.
func TestDiskAgainstModel(t *testing.T) {
	withoutSync(t)
	dir := t.TempDir()
	n := 0
	path := func() string { return filepath.Join(dir, fmt.Sprint(n)) }
	againstModel(t, func(t *rapid.T, l Limits) tested {
		n++
		return mustOpen(t, path(), l, noon)
	}, func(t *rapid.T, s tested, now time.Time) tested {
		l := s.ledgerOf().x.limits
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		d := mustOpen(t, path(), l, now)
		if r := d.Report(); r.Damaged != 0 || len(r.Losses) != 0 {
			t.Fatalf("after opening anew: %v", r)
		}
		return d
	})
}

func againstModel(t *testing.T, open func(*rapid.T, Limits) tested, reopen func(*rapid.T, tested, time.Time) tested) {
	all := universe(t)
	rapid.Check(t, func(t *rapid.T) {
		l := Limits{
			Bytes: int64(rapid.IntRange(2, 12).Draw(t, "bytes")) * 900, Records: rapid.IntRange(2, 12).Draw(t, "records"),
			KeyBytes: int64(rapid.IntRange(1, 4).Draw(t, "key bytes")) * 1000, KeyRecords: rapid.IntRange(1, 3).Draw(t, "key records"),
		}
		m, s := &model{limits: l}, open(t, l)
		defer func() { s.Close() }()
		now, opened := noon, noon
		actions := map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				it := Item{
					Record: rapid.SampledFrom(all).Draw(t, "record"), Cached: rapid.Bool().Draw(t, "cached"),
					Life: time.Duration(rapid.IntRange(-1, 400).Draw(t, "life")) * time.Second, NoSuppress: rapid.Bool().Draw(t, "no suppress"),
				}
				if it.Record.Record.Kind == wire.KindOwned && rapid.Bool().Draw(t, "if") {
					seq := uint64(rapid.IntRange(0, 3).Draw(t, "if seq"))
					it.IfSeq = &seq
				}
				// Put may sweep first, at intervals that it chooses: here always.
				s.Expire(now)
				m.expire(now)
				want := m.put(now, it)
				if got := put(s, now, it); got != want {
					t.Fatalf("put of %+v: %v, want %v", it.Record.Record, got, want)
				}
			},
			"offer": func(t *rapid.T) {
				r := rapid.SampledFrom(all).Draw(t, "record")
				suppresses := rapid.Bool().Draw(t, "suppresses")
				e := m.find(now, r)
				want := s.Offer(now, []wire.Offered{{Kind: r.Record.Kind, Key: r.Record.Key, Print: r.Print()}}, func(int) bool { return suppresses })
				if want[0] != (e == nil || e.cached) {
					t.Fatalf("offered %+v, wanted: %v", r.Record, want[0])
				}
				if e != nil && suppresses {
					e.received = now
				}
			},
			"expire": func(t *rapid.T) {
				want := m.expire(now)
				if got := s.Expire(now); got != want {
					t.Fatalf("Expire dropped %d, want %d", got, want)
				}
			},
			"pass": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(1, 600).Draw(t, "seconds")) * time.Second)
			},
			"": func(t *rapid.T) {
				x := s.ledgerOf().x
				check(t, x)
				live := 0
				for _, e := range m.list {
					if !e.dead {
						live++
					}
				}
				if s.Len() != live || len(x.order) != len(m.list) {
					t.Fatalf("%d records of %d entries, want %d of %d", s.Len(), len(x.order), live, len(m.list))
				}
				for _, r := range all {
					got, want := s.Get(now, r.Record.Kind, r.Record.Key, 100), m.get(now, r)
					if !slices.EqualFunc(got, want, same) {
						t.Fatalf("under %v: %d records, want %d", r.Record, len(got), len(want))
					}
					if s.Has(now, r) != (m.find(now, r) != nil) {
						t.Fatalf("Has(%v) = %v", r.Record, s.Has(now, r))
					}
					seq, ok := s.Seq(now, r.Record.Key)
					if wantSeq, wantOK := m.seq(now, r); r.Record.Kind == wire.KindOwned && (seq != wantSeq || ok != wantOK) {
						t.Fatalf("Seq(%v) = %d, %v; want %d, %v", r.Record, seq, ok, wantSeq, wantOK)
					}
				}
				for h := range s.All(now) {
					i := slices.IndexFunc(m.list, func(e *modelEntry) bool { return e.r.Print() == h.Print && !e.dead })
					if i < 0 {
						t.Fatalf("All yields %+v, which is not held", h)
					}
					e := m.list[i]
					if !e.received.After(opened) {
						h.Received = e.received // which the file may not have exactly
					}
					if h != told(e.r, e.received, e.until, e.cached) || !same(s.Load(now, h), e.r) {
						t.Fatalf("All yields %+v, want %+v", h, *e)
					}
				}
			},
		}
		if _, ok := s.(*Disk); ok {
			actions["put on a full disk"] = func(t *rapid.T) {
				it := Item{Record: rapid.SampledFrom(all).Draw(t, "record"), Cached: rapid.Bool().Draw(t, "cached")}
				s.Expire(now)
				m.expire(now)
				could := m.clone()
				want := could.put(now, it)
				m.receivedAs(could) // which is never written
				if want == wire.CodeOK && !could.equal(m) {
					want = wire.CodeReadOnly
				}
				d := s.(*Disk)
				d.broken = errors.New("no space left")
				got := put(s, now, it)
				d.broken = nil
				if got != want {
					t.Fatalf("put of %+v: %v, want %v", it.Record.Record, got, want)
				}
			}
		}
		if reopen != nil {
			actions["reopen"] = func(t *rapid.T) {
				s.Expire(now)
				m.expire(now)
				s, opened = reopen(t, s, now), now
			}
		}
		t.Repeat(actions)
	})
}

// find returns the entry that holds exactly that record.
func (m *model) find(now time.Time, r *wire.Signed) *modelEntry {
	i := slices.IndexFunc(m.list, func(e *modelEntry) bool { return !e.dead && e.until.After(now) && same(e.r, r) })
	if i < 0 {
		return nil
	}
	return m.list[i]
}

func (m *model) seq(now time.Time, like *wire.Signed) (uint64, bool) {
	i := slices.IndexFunc(m.list, func(e *modelEntry) bool { return sameSlot(e.r, like) && (e.until.After(now) || e.forget.After(now)) })
	if i < 0 {
		return 0, false
	}
	return m.list[i].r.Record.Seq, true
}

func (m *model) clone() *model {
	c := &model{limits: m.limits}
	for _, e := range m.list {
		copied := *e
		c.list = append(c.list, &copied)
	}
	return c
}

// receivedAs copies from o the times of receipt of the records that both hold.
func (m *model) receivedAs(o *model) {
	for _, e := range m.list {
		for _, f := range o.list {
			if f.r == e.r && !f.dead && !e.dead {
				e.received = f.received
			}
		}
	}
}

// equal reports whether both hold the same records, in any order.
func (m *model) equal(o *model) bool {
	same := func(a, b *modelEntry) bool { return *a == *b }
	return len(m.list) == len(o.list) && !slices.ContainsFunc(m.list, func(a *modelEntry) bool {
		return !slices.ContainsFunc(o.list, func(b *modelEntry) bool { return same(a, b) })
	})
}
