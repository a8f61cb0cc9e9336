package routing

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// peerID stands for the data that a node attaches to a key.
type peerID [32]byte

// mature returns a table of about 300 contacts and keys to look for.
func mature(n int) (*Table[peerID], []Contact[peerID]) {
	src := rand.NewPCG(1, 1)
	t := NewTable(RandomKey(Key{}, 0, src), TableOptions[peerID]{})
	all := make([]Contact[peerID], n)
	for i := range all {
		all[i].Key = RandomKey(Key{}, 0, src)
		t.Seen(all[i], start)
	}
	return t, all
}

func BenchmarkAppendNearest(b *testing.B) {
	t, all := mature(300_000)
	if t.Len() < 290 || t.Len() > 330 {
		b.Fatalf("%d contacts, want some 300", t.Len())
	}
	dst := make([]Contact[peerID], 0, 20)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		dst = t.AppendNearest(dst[:0], all[i&0xffff].Key, 20)
	}
	b.ReportMetric(float64(t.Len()), "contacts")
}

func BenchmarkSeen(b *testing.B) {
	t, all := mature(100_000)
	known := slices.Collect(t.All())
	rand.New(rand.NewPCG(2, 2)).Shuffle(len(known), func(i, j int) { known[i], known[j] = known[j], known[i] })
	b.Run("known", func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			if i++; i == len(known) {
				i = 0
			}
			t.Seen(known[i], start)
		}
	})
	b.Run("full", func(b *testing.B) { // offered to a full bucket, into its replacement cache
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			i++
			t.Seen(all[i&0xffff], start)
		}
	})
	b.Run("fill", func(b *testing.B) { // a new table, insertion by insertion
		b.ReportAllocs()
		fresh := NewTable(t.Self(), TableOptions[peerID]{})
		i := 0
		for b.Loop() {
			if i++; i == len(known) {
				i = 0
				fresh = NewTable(t.Self(), TableOptions[peerID]{})
			}
			fresh.Seen(known[i], start)
		}
	})
}

func BenchmarkCommonPrefixLen(b *testing.B) {
	src := rand.NewPCG(1, 1)
	x, y := RandomKey(Key{}, 0, src), RandomKey(Key{}, 0, src)
	n := 0
	for b.Loop() {
		n += x.CommonPrefixLen(y)
		y[31]++
	}
	_ = n
}

func BenchmarkKeyOf(b *testing.B) {
	name := "hello world"
	b.ReportAllocs()
	for b.Loop() {
		KeyOf(name)
	}
}

// BenchmarkLookup is the machine alone: the answers are ready, no time passes.
func BenchmarkLookup(b *testing.B) {
	for _, bench := range []struct {
		name string
		o    LookupOptions[int32]
	}{{"find", LookupOptions[int32]{}}, {"put", LookupOptions[int32]{Store: 3}}} {
		b.Run(bench.name, func(b *testing.B) {
			w := newNetwork(1, 10_000, 20)
			target := RandomKey(Key{}, 0, w.src)
			seeds := w.table(w.anyone()).AppendNearest(nil, target, 20)
			replies := map[Key][]Contact[int32]{}
			requests := 0
			pass := func() {
				l := NewLookup(target, slices.Values(seeds), bench.o)
				now := time.Time{}
				var air []Query[int32]
				for !l.Done(now) {
					for q, ok := l.Next(now); ok; q, ok = l.Next(now) {
						air = append(air, q)
					}
					q := air[0]
					air = air[1:]
					closer, ok := replies[q.Key]
					if !ok {
						closer = w.table(int(q.Addr)).AppendNearest(nil, target, 20)
						replies[q.Key] = closer
					}
					l.Answer(q.Key, Reply[int32]{Closer: closer})
				}
				requests = l.Stats().Queries
			}
			pass()
			b.ReportAllocs()
			for b.Loop() {
				pass()
			}
			b.ReportMetric(float64(requests), "rpcs/op")
		})
	}
}
