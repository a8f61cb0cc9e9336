package routing

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// world is a small random network: its nodes know random others, and answer, lie,
// stall or refuse.
type world struct {
	keys  []Key
	knows [][]Contact[int]
	value []bool
	self  Key
}

func drawWorld(t *rapid.T) *world {
	n := rapid.IntRange(0, 40).Draw(t, "nodes")
	w := &world{self: Key{0x11}, keys: make([]Key, n), knows: make([][]Contact[int], n), value: make([]bool, n)}
	for i := range w.keys {
		w.keys[i] = KeyOf([]byte{byte(i)})
	}
	for i := range w.keys {
		for _, j := range rapid.SliceOfN(rapid.IntRange(-1, n-1), 0, 12).Draw(t, "knows") {
			c := Contact[int]{Key: w.self, Addr: -1} // liars and neighbours name us
			if j >= 0 {
				c = Contact[int]{w.keys[j], j}
			}
			w.knows[i] = append(w.knows[i], c)
		}
		w.value[i] = rapid.IntRange(0, 4).Draw(t, "value") == 0
	}
	return w
}

// errand is one query under way.
type errand struct {
	q       Query[int]
	overdue time.Time // zero: never
	again   bool      // a FIND to one that has stored
}

// TestLookupProperties lets answers, failures and time come in any order.
func TestLookupProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		target := KeyOf("target")
		timeout := time.Duration(rapid.IntRange(0, 3).Draw(t, "timeout")) * time.Second
		patience := time.Duration(rapid.IntRange(0, 3).Draw(t, "patience")) * time.Second
		o := LookupOptions[int]{
			K: rapid.IntRange(1, 6).Draw(t, "k"), Alpha: rapid.IntRange(1, 4).Draw(t, "alpha"),
			Self: Contact[int]{Key: w.self, Addr: -1}, CountSelf: rapid.Bool().Draw(t, "count self"),
			Store: rapid.IntRange(0, 3).Draw(t, "store"), Quorum: rapid.IntRange(0, 2).Draw(t, "quorum"),
			Witnesses: rapid.IntRange(-1, 3).Draw(t, "witnesses"), Patient: rapid.Bool().Draw(t, "patient"),
			Timeout:  func(Query[int]) time.Duration { return timeout },
			Patience: func(Query[int]) time.Duration { return patience },
		}
		var seeds []Contact[int]
		if len(w.keys) > 0 {
			for _, j := range rapid.SliceOfN(rapid.IntRange(0, len(w.keys)-1), 0, 8).Draw(t, "seeds") {
				seeds = append(seeds, Contact[int]{w.keys[j], j})
			}
		}
		l := NewLookup(target, slices.Values(seeds), o)

		now := start
		var air []errand
		done := map[Key]bool{}        // answered or stored, as the lookup demands
		sent := map[Query[int]]bool{} // of either kind; hops cleared
		values := 0
		for step := 0; !l.Done(now); step++ {
			if step > 1000 {
				t.Fatal("does not end")
			}
			for q, ok := l.Next(now); ok; q, ok = l.Next(now) {
				if q.Hop < 1 {
					t.Fatalf("hop %d", q.Hop)
				}
				kind := q
				kind.Hop, kind.Bound = 0, Key{}
				again := l.curbed && !q.Store && done[q.Key] // it has stored, and is asked for more
				if q.Key == w.self || sent[kind] {
					t.Fatalf("asks itself, or somebody twice: %v", q)
				}
				if q.Store && o.Store == 0 {
					t.Fatal("STORE in a lookup")
				}
				for _, e := range air {
					if e.q.Key == q.Key {
						t.Fatalf("two queries to %v at a time", q.Key)
					}
				}
				sent[kind] = true
				e := errand{q: q, again: again}
				if timeout > 0 {
					e.overdue = now.Add(timeout)
				}
				air = append(air, e)
				awaited, bound := 0, o.Alpha
				for _, e := range air {
					if e.overdue.IsZero() || now.Before(e.overdue) {
						awaited++
					}
				}
				if l.burst {
					bound = 2*o.K + o.Alpha
				}
				if awaited > bound {
					t.Fatalf("%d awaited, want at most %d", awaited, bound)
				}
			}
			if l.Done(now) {
				break
			}
			if len(air) == 0 {
				t.Fatal("nothing under way, and not done")
			}
			wake, ok := l.Wake()
			if ok && rapid.IntRange(0, 2).Draw(t, "time passes") == 0 {
				now = wake
				continue
			}
			i := rapid.IntRange(0, len(air)-1).Draw(t, "whose")
			e := air[i]
			air = slices.Delete(air, i, i+1)
			if rapid.IntRange(0, 3).Draw(t, "fails") == 0 {
				l.Fail(e.q.Key)
				if !e.again {
					delete(done, e.q.Key)
				}
			} else {
				r := Reply[int]{Closer: w.knows[e.q.Addr], Value: w.value[e.q.Addr]}
				if r.Value {
					values++
				}
				l.Answer(e.q.Key, r)
				if e.q.Store == (o.Store > 0) {
					done[e.q.Key] = true
				}
			}
			l.Answer(Key{0xee}, Reply[int]{Closer: []Contact[int]{{Key: Key{0xef}}}}) // a stranger
			if done[e.q.Key] {
				l.Fail(e.q.Key) // too late to matter
			}
		}
		if _, ok := l.Next(now); ok {
			t.Fatal("asks after the end")
		}
		if _, ok := l.Wake(); ok {
			t.Fatal("wants to be woken after the end")
		}

		if o.CountSelf {
			done[w.self] = true
		}
		var want, got []Key
		for k := range done {
			want = append(want, k)
		}
		slices.SortFunc(want, target.CompareDistance)
		for c := range l.Closest() {
			got = append(got, c.Key)
		}
		if want = want[:min(len(want), o.K)]; !slices.Equal(got, want) {
			t.Fatalf("closest %v, want %v", got, want)
		}
		if o.Store > 0 || o.Quorum == 0 || values < o.Quorum {
			checkEnd(t, l, o)
		}
		s := l.Stats()
		if s.Queries != len(sent) || s.Answers+s.Failures > s.Queries || s.Stores > s.Queries {
			t.Fatalf("%d sent, stats %+v", len(sent), s)
		}
	})
}

// checkEnd holds the end of a lookup against the paper's words: of all heard
// of and not failed, the k nearest have answered (or stored).
func checkEnd(t *rapid.T, l *Lookup[int], o LookupOptions[int]) {
	n, has, self, late, gone := 0, 0, 0, false, false
	for _, p := range l.order {
		c := &l.known[p.i]
		switch c.state {
		case failed:
			continue
		case overdue:
			late = true
			continue
		case lost:
			gone = true
			continue
		}
		if want := map[bool]state{false: answered, true: stored}[o.Store > 0]; c.state != want && c.state != own {
			t.Fatalf("ended while the %d. of the %d nearest, %v, is in state %d", n+1, o.K, c.Key, c.state)
		}
		if c.state == own {
			self = 1
		} else {
			has++
		}
		if n++; n == o.K {
			break
		}
	}
	if late && (o.Patient || n < o.K) {
		t.Fatalf("ended without awaiting the overdue, patient %v, with %d of %d", o.Patient, n, o.K)
	}
	if gone && (o.Patient || n < o.K) && (has == 0 || o.Store > 0 && has+self < o.Quorum) {
		t.Fatalf("ended without the lost, patient %v, with %d and %d of %d, quorum %d", o.Patient, has, self, o.K, o.Quorum)
	}
}

// On a network where each node knows all others, the result is the truth,
// whatever the order of events.
func TestLookupFindsTheTruth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 60).Draw(t, "nodes")
		target := KeyOf("target")
		tables := make([]*Table[int], n)
		all := make([]Contact[int], n)
		for i := range all {
			all[i] = Contact[int]{KeyOf([]byte{byte(i)}), i}
		}
		o := LookupOptions[int]{K: 4, Store: rapid.IntRange(0, 3).Draw(t, "store"), Self: all[0], CountSelf: rapid.Bool().Draw(t, "count self")}
		for i := range tables {
			tables[i] = NewTable(all[i].Key, TableOptions[int]{K: 60})
			for _, c := range all {
				tables[i].Seen(c, start)
			}
		}
		l := NewLookup(target, tables[0].Nearest(target), o)
		var air []Query[int]
		for !l.Done(start) {
			for q, ok := l.Next(start); ok; q, ok = l.Next(start) {
				air = append(air, q)
			}
			i := rapid.IntRange(0, len(air)-1).Draw(t, "whose")
			q := air[i]
			air = slices.Delete(air, i, i+1)
			l.Answer(q.Key, Reply[int]{Closer: tables[q.Addr].AppendNearest(nil, target, 4)})
		}
		want := slices.Clone(all)
		if !o.CountSelf {
			want = want[1:]
		}
		slices.SortFunc(want, func(a, b Contact[int]) int { return target.CompareDistance(a.Key, b.Key) })
		if got := slices.Collect(l.Closest()); !slices.Equal(got, want[:min(4, len(want))]) {
			t.Fatalf("closest %v, want %v", got, want[:min(4, len(want))])
		}
	})
}
