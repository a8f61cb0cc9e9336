package routing

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestSpansAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// 64 words, at either end of the space, so that nothing may overflow.
		base := rapid.SampledFrom([]uint64{0, math.MaxUint64 - 63}).Draw(t, "base")
		word := rapid.Uint64Range(0, 63)
		var s spans
		var in [64]bool
		for range rapid.IntRange(0, 20).Draw(t, "n") {
			lo := word.Draw(t, "lo")
			hi := rapid.Uint64Range(lo, 63).Draw(t, "hi")
			s.add(span{base + lo, base + hi})
			for i := lo; i <= hi; i++ {
				in[i] = true
			}
		}
		for i := 1; i < len(s); i++ {
			if s[i-1].hi+1 >= s[i].lo {
				t.Fatalf("%v and %v touch", s[i-1], s[i])
			}
		}
		lo := word.Draw(t, "from")
		hi := rapid.Uint64Range(lo, 63).Draw(t, "to")
		want := slices.Index(in[lo:hi+1], false)
		at, ok := s.gap(span{base + lo, base + hi})
		if ok != (want >= 0) || ok && at != base+lo+uint64(want) {
			t.Fatalf("gap of %v in %d to %d at %d, %v; want the %dth", s, lo, hi, at-base, ok, want)
		}

		// The ball, nearest first.
		r := word.Draw(t, "r")
		center := base + word.Draw(t, "center")
		last, n := uint64(0), uint64(0)
		for part := range ball(center, r) {
			if d := center ^ part.lo; d < last&^(part.hi-part.lo) {
				t.Fatalf("part %v of the ball about %d comes after one at %d", part, center, last)
			}
			for w := part.lo; ; w++ {
				if n, last = n+1, max(last, center^w); center^w > r {
					t.Fatalf("%d is not within %d of %d", w, r, center)
				}
				if w == part.hi {
					break
				}
			}
		}
		if n != r+1 {
			t.Fatalf("%d words within %d", n, r)
		}
	})
}

// drawKeys draws keys that gather about two places, and some from anywhere.
func drawKeys(t *rapid.T, n int, what string) []Key {
	src := rand.NewPCG(rapid.Uint64().Draw(t, what+" seed"), 0)
	places := []Key{RandomKey(Key{}, 0, src), RandomKey(Key{}, 0, src)}
	keys := make([]Key, n)
	for i := range keys {
		depth := rapid.IntRange(0, 12).Draw(t, what)
		keys[i] = RandomKey(places[i%2], depth, src)
	}
	return keys
}

func TestSweepAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := rapid.SampledFrom([]int{1, 2, 5, 20}).Draw(t, "k")
		keys := drawKeys(t, rapid.IntRange(0, 100).Draw(t, "keys"), "key")
		nodes := drawKeys(t, rapid.IntRange(0, 150).Draw(t, "nodes"), "node")
		find := func(target Key, n int) (near []Contact[int]) {
			sorted := slices.Clone(nodes)
			slices.SortFunc(sorted, target.CompareDistance)
			for i, key := range sorted[:min(n, len(sorted))] {
				near = append(near, Contact[int]{key, i})
			}
			return near
		}
		s := NewSweep[int](keys, k)
		lookups := 0
		wide := rapid.IntRange(1, 3).Draw(t, "times k")
		skipped := map[int]bool{}
		for target, ok := s.Next(); ok; target, ok = s.Next() {
			if rapid.IntRange(0, 9).Draw(t, "skip") == 0 {
				skipped[s.Skip()] = true
				continue
			}
			s.Found(target, find(target, wide*k))
			if lookups++; lookups > 64*(len(keys)+1) {
				t.Fatalf("%d lookups", lookups)
			}
		}
		got := make([][]Key, len(keys))
		for c, indices := range s.Plan() {
			if len(indices) == 0 {
				t.Fatalf("%v is to hold nothing", c)
			}
			for _, i := range indices {
				got[i] = append(got[i], c.Key)
			}
		}
		for i, key := range keys {
			var want []Key
			for _, c := range find(key, k) {
				want = append(want, c.Key)
			}
			slices.SortFunc(got[i], key.CompareDistance)
			if skipped[i] {
				want = nil
			}
			if !slices.Equal(got[i], want) {
				t.Fatalf("key %v goes to %d nodes, want its %d nearest", key, len(got[i]), len(want))
			}
		}
	})
}

// TestNetworkSweep measures the lookups that it takes to publish many keys. One for
// each key would be 22.9 requests.
func TestNetworkSweep(t *testing.T) {
	w := newNetwork(6, *simNodes, DefaultK)
	for _, c := range []struct {
		keys     int
		requests float64 // a key, at 10,000 nodes
	}{{100, 23}, {1_000, 14}, {10_000, 1.7}, {100_000, 0.17}} {
		keys := make([]Key, c.keys)
		for i := range keys {
			keys[i] = w.random()
		}
		from := w.anyone()
		s := NewSweep[int32](keys, DefaultK)
		w.near = s.Near
		lookups, requests := 0, 0
		for target, ok := s.Next(); ok; target, ok = s.Next() {
			l, _ := w.look(from, target, LookupOptions[int32]{CountSelf: true}, nil)
			s.Found(target, slices.Collect(l.Closest()))
			lookups++
			requests += l.Stats().Queries
		}
		placed, right, nodes := 0, 0, 0
		holders := make([][]Key, len(keys))
		for n, indices := range s.Plan() {
			nodes++
			placed += len(indices)
			for _, i := range indices {
				holders[i] = append(holders[i], n.Key)
			}
		}
		few := min(len(keys), 2000)
		for i, key := range keys[:few] {
			for _, n := range w.truth(key, -1) {
				if slices.Contains(holders[i], n) {
					right++
				}
			}
		}
		recall := float64(right) / float64(few*DefaultK)
		each := float64(requests) / float64(len(keys))
		t.Logf("%d keys: %d lookups, %.3f requests a key, %d nodes, recall %.4f", len(keys), lookups, each, nodes, recall)
		if placed != DefaultK*len(keys) || recall < 0.999 {
			t.Errorf("%d keys: %d places, recall %.4f", len(keys), placed, recall)
		}
		if *simNodes == 10_000 && each > c.requests {
			t.Errorf("%d keys: %.3f requests a key, want at most %v", len(keys), each, c.requests)
		}
	}
}

func BenchmarkSweep(b *testing.B) {
	src := rand.NewPCG(1, 1)
	keys := make([]Key, 100_000)
	for i := range keys {
		keys[i] = RandomKey(Key{}, 0, src)
	}
	w := newNetwork(1, 10_000, DefaultK)
	for b.Loop() {
		s := NewSweep[int32](keys, DefaultK)
		for target, ok := s.Next(); ok; target, ok = s.Next() {
			b.StopTimer()
			var near []Contact[int32]
			for _, k := range w.truth(target, -1) {
				near = append(near, Contact[int32]{Key: k})
			}
			b.StartTimer()
			s.Found(target, near)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(keys)), "ns/key")
}
