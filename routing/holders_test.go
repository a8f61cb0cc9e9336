package routing

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// drawTable returns a table of contacts at all distances, some of them marked,
// and the keys of those that are not.
func drawTable(t *rapid.T) (tb *Table[string], live []Key, key *rapid.Generator[Key]) {
	k := rapid.SampledFrom([]int{1, 2, 3, 5, 20}).Draw(t, "k")
	self := Key{0x35}
	key = rapid.Custom(func(t *rapid.T) Key {
		depth := rapid.IntRange(0, 9).Draw(t, "depth")
		return Key{31: rapid.Byte().Draw(t, "low")}.xor(self.flip(depth))
	})
	tb = NewTable(self, TableOptions[string]{K: k})
	n := rapid.IntRange(0, 120).Draw(t, "n")
	for _, c := range rapid.SliceOfN(key, n, n).Draw(t, "contacts") {
		tb.Seen(Contact[string]{Key: c}, start)
	}
	for c := range tb.All() {
		live = append(live, c.Key)
	}
	if len(live) > 0 {
		for _, c := range rapid.SliceOf(rapid.SampledFrom(live)).Draw(t, "failed") {
			tb.Failed(c, start.Add(time.Minute))
		}
	}
	live = nil
	for c := range tb.All() {
		if !tb.Marked(c.Key) {
			live = append(live, c.Key)
		}
	}
	return tb, live, key
}

func TestHoldersAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tb, live, keys := drawTable(t)
		self, k := tb.Self(), tb.o.K
		key, newcomer := keys.Draw(t, "key"), keys.Draw(t, "newcomer")
		if tb.Len() > 0 && rapid.Bool().Draw(t, "known") {
			newcomer = rapid.SampledFrom(slices.Collect(tb.All())).Draw(t, "contact").Key
		}

		// The k nearest of all, self among them.
		all := append(slices.Clone(live), self)
		slices.SortFunc(all, key.CompareDistance)
		want := all[:min(k, len(all))]
		wantRank := slices.Index(want, self)
		got, rank := tb.AppendHolders([]Contact[string]{{Addr: "kept"}}, key)
		if got[0].Addr != "kept" || rank != wantRank {
			t.Fatalf("rank %d, want %d", rank, wantRank)
		}
		want = slices.DeleteFunc(slices.Clone(want), func(c Key) bool { return c == self })
		if !slices.EqualFunc(got[1:], want, func(c Contact[string], k Key) bool { return c.Key == k }) {
			t.Fatalf("holders of %v are %v, want %v", key, got[1:], want)
		}

		// The same with the newcomer, which may be known.
		others := slices.DeleteFunc(slices.Clone(all), func(c Key) bool { return c == newcomer })
		with := append(slices.Clone(others), newcomer)
		slices.SortFunc(with, key.CompareDistance)
		wantOK := newcomer != self && slices.Index(with, newcomer) < k
		rank, ok := tb.Heir(key, newcomer)
		if ok != wantOK || ok && rank != slices.Index(others, self) {
			t.Fatalf("heir %v, and we are %d; want %v, %d", ok, rank, wantOK, slices.Index(others, self))
		}
	})
}

// Whatever nodes exist outside the complete subtree, the k nearest of a covered key
// are contacts, or self.
func TestCoversAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		self := Key{0x35}
		k := rapid.SampledFrom([]int{1, 2, 3, 5, 20}).Draw(t, "k")
		key := rapid.Custom(func(t *rapid.T) Key {
			depth := rapid.IntRange(0, 9).Draw(t, "depth")
			return Key{31: rapid.Byte().Draw(t, "low")}.xor(self.flip(depth))
		})
		tb := NewTable(self, TableOptions[string]{K: k})
		all := []Key{self}
		crowd := map[int]int{} // within 3k, no contact of the complete subtree is refused
		n := rapid.IntRange(0, 150).Draw(t, "n")
		for _, c := range rapid.SliceOfNDistinct(key, n, n, rapid.ID).Draw(t, "nodes") {
			depth := self.CommonPrefixLen(c)
			if crowd[depth]++; c == self || crowd[depth] > subtreeSlack*k {
				continue
			}
			all = append(all, c)
			tb.Seen(Contact[string]{Key: c}, start)
		}
		target := key.Draw(t, "target")
		if !tb.Covers(target) {
			if tb.Len() >= k && !tb.Covers(self) {
				t.Fatal("with k contacts the own key is not covered")
			}
			return
		}
		slices.SortFunc(all, target.CompareDistance)
		for _, c := range all[:k] {
			if c != self && !tb.Contains(c) {
				t.Fatalf("%v is covered, complete to %d bits, and %v no contact", target, tb.Complete(), c)
			}
		}
	})
}

func TestHoldersAllocateNothing(t *testing.T) {
	tb, all := mature(10_000)
	dst := make([]Contact[peerID], 0, DefaultK)
	i := 0
	if n := testing.AllocsPerRun(100, func() {
		i++
		key := all[i].Key
		tb.AppendHolders(dst[:0], key)
		tb.Covers(key)
		tb.Heir(key, all[2*i].Key)
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func BenchmarkHolders(b *testing.B) {
	tb, all := mature(100_000)
	dst := make([]Contact[peerID], 0, DefaultK)
	b.Run("holders", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			dst, _ = tb.AppendHolders(dst[:0], all[i&0xffff].Key)
		}
	})
	b.Run("heir", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			tb.Heir(all[i&0xffff].Key, all[(i+7)&0xffff].Key)
		}
	})
	b.Run("covers", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			tb.Covers(all[i&0xffff].Key)
		}
	})
}
