package node

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/store"
	"github.com/kadquic/kadquic/wire"
)

// The cost of a pass over 100,000 records: for those that are due, once a minute, and for those that a
// newcomer should hold. The table is locked for one key, or 64, at a time.
func BenchmarkPass(b *testing.B) {
	n, err := New(Config{Key: testKey(0)})
	if err != nil {
		b.Fatal(err)
	}
	defer n.Close()
	n.values = store.NewMemory(n.key, store.Limits{Bytes: 1 << 30, Records: 200_000})
	for i := range 200 {
		c := n.refs.Of(idOf(testKey(i + 1))).Contact()
		n.routes.Seen(c, time.Now())
	}
	now := time.Now()
	key := testKey(999)
	var items []store.Item
	for i := range 100_000 {
		r, err := wire.Sign(wire.Record{Kind: wire.KindContent, Seq: 1, Expiry: now.Add(20 * time.Hour), Value: fmt.Appendf(nil, "%0512d", i)}, key)
		if err != nil {
			b.Fatal(err)
		}
		items = append(items, store.Item{Record: r, Source: netip.Addr{}})
	}
	n.values.Put(now, items)
	b.Run("due", func(b *testing.B) {
		for b.Loop() {
			if due := n.due(time.Now()); len(due) > 0 {
				b.Fatal("nothing is due yet")
			}
		}
	})
	b.Run("due as many", func(b *testing.B) {
		n.config.RepublishInterval = time.Nanosecond // all of them
		for b.Loop() {
			n.due(time.Now())
		}
		n.config.RepublishInterval = time.Hour
	})
	b.Run("heirs", func(b *testing.B) {
		newcomer := n.refs.Of(idOf(testKey(500))).Contact()
		for b.Loop() {
			heirs := 0
			for h := range n.values.All(now) {
				n.routes.Locked(func(t *table) {
					if rank, ok := t.Heir(h.Key, newcomer.Key); ok && rank < handOverRanks {
						heirs++
					}
				})
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100_000, "ns/record")
	})
}
