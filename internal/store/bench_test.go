package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// records returns n open records under random keys, as they come from a peer.
func records(b testing.TB, n int) []Item {
	items := make([]Item, n)
	for i := range items {
		r := sign(b, wire.Record{
			Kind: wire.KindOpen, Key: routing.KeyOf(fmt.Sprint(i)), Seq: 1, Expiry: after(20 * time.Hour), Value: make([]byte, 100),
		}, i%len(publishers))
		items[i] = Item{Record: r, Source: from(i%5000, 1)}
	}
	return items
}

func BenchmarkPut(b *testing.B) {
	items := records(b, 20_000)
	b.Run("new", func(b *testing.B) {
		b.ReportAllocs()
		var s *Memory
		for i := 0; b.Loop(); i++ {
			if i%len(items) == 0 {
				s = newMemory(Limits{})
			}
			s.Put(noon, items[i%len(items):][:1])
		}
	})
	b.Run("known", func(b *testing.B) {
		s := newMemory(Limits{})
		s.Put(noon, items)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			s.Put(noon, items[i%len(items):][:1])
		}
	})
	b.Run("full", func(b *testing.B) {
		s := newMemory(Limits{Records: 10_000})
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			s.Put(noon, items[i%len(items):][:1])
		}
	})
}

func BenchmarkGet(b *testing.B) {
	items := records(b, 20_000)
	s := newMemory(Limits{})
	s.Put(noon, items)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s.Get(noon, wire.KindOpen, items[i%len(items)].Record.Record.Key, 4)
	}
}

func BenchmarkExpire(b *testing.B) {
	s := newMemory(Limits{})
	s.Put(noon, records(b, 50_000))
	for b.Loop() {
		s.Expire(noon)
	}
	b.ReportMetric(float64(s.Len()), "records")
}
