package replica

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/store"
	"github.com/kadquic/kadquic/wire"
)

// Replicate brings each record to the k nearest, this node among them, and to the next one
// in place of a peer that cannot be reached.
func TestReplicateReachesTheNearest(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host, r *Replicator) {
		r.K, h.k = 3, 3
		got := make(map[wire.PeerID]int)
		for i := 1; i <= 8; i++ {
			h.add(i, func(m wire.Message) wire.Message {
				h.mu.Lock()
				got[idOf(i)] += len(m.(wire.Store).Records)
				h.mu.Unlock()
				return takesAll(m)
			})
		}
		records := contents(t, 40, 10)
		acks := r.Replicate(t.Context(), records)
		others, own := 0, h.store.Len()
		for _, n := range got {
			others += n
		}
		if slices.Min(acks) != 3 || slices.Max(acks) != 3 || own == 0 || others+own != 3*len(records) {
			t.Errorf("acknowledged by %d to %d; %d copies at other nodes, %d here", slices.Min(acks), slices.Max(acks), others, own)
		}
		if h.count("wire.Offer") != 0 {
			t.Error("fresh records were offered")
		}
	})
}

// Replication by a node without contacts keeps the records here, and ends.
func TestReplicateAlone(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host, r *Replicator) {
		for i, acks := range r.Replicate(t.Context(), contents(t, 100, 10)) {
			if acks != 1 {
				t.Errorf("record %d is on %d nodes", i, acks)
			}
		}
		if held := h.store.Len(); held != 100 {
			t.Errorf("%d records held", held)
		}
	})
}

// "Each node re-publishes key-value pairs once an hour" (Kademlia §2.5): a record is not due
// again after it was republished, and not at all if this node is a client, has no contact, or is not
// to republish.
func TestRepublishOncePerInterval(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host, r *Replicator) {
		h.hold(t, contents(t, 50, 10))
		time.Sleep(90 * time.Minute)
		stays := func(why string) {
			t.Helper()
			r.Republish(t.Context())
			if len(h.requests()) > 0 {
				t.Errorf("%s sends %v", why, h.requests())
			}
		}
		stays("a node without contacts")
		h.add(1, takesAll)
		h.client = true
		stays("a client")
		h.client, r.Interval = false, -1
		stays("a node that is not to republish")
		r.Interval = time.Hour
		r.Republish(t.Context())
		if n, _ := r.Stats(); n != 50 || h.count("wire.Offer") != 1 || h.count("wire.Store") != 1 {
			t.Errorf("%d records were republished by %v", n, h.requests())
		}
		for range 3 {
			time.Sleep(14 * time.Minute)
			r.Republish(t.Context())
		}
		if n, _ := r.Stats(); n != 50 {
			t.Errorf("%d records were republished within the hour", n-50)
		}
		time.Sleep(20 * time.Minute)
		r.Republish(t.Context())
		if n, _ := r.Stats(); n != 100 {
			t.Errorf("%d records were republished in two intervals, want 100", n)
		}
	})
}

// A node does not republish records of which it is not one of the k holders.
func TestRepublishOnlyOwnShare(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host, r *Replicator) {
		r.K, h.k = 2, 2
		for i := 1; i <= 8; i++ {
			h.add(i, takesAll)
		}
		records := contents(t, 60, 10)
		h.hold(t, records)
		share := 0
		for _, s := range records {
			if h.table.Closer(s.Record.Key) < 2 {
				share++
			}
		}
		time.Sleep(90 * time.Minute)
		r.Republish(t.Context())
		if n, _ := r.Stats(); n != int64(share) || share == 0 || share == 60 {
			t.Errorf("%d records were republished, want %d", n, share)
		}
	})
}

// "When a node learns of a new node which is closer to some of its pairs, it replicates these
// pairs to the new node" (Kademlia §2.5), in seconds, and once a minute at most. Peers that it
// meets as it joins are not new.
func TestHandOverToNewcomers(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host, r *Replicator) {
		r.Background.Go(func() { r.HandOver(r.Background.Context()) })
		h.hold(t, contents(t, 50, 10))
		h.add(1, takesAll)
		time.Sleep(10 * time.Second)
		if len(h.requests()) > 0 {
			t.Errorf("a peer that was met during the join was sent %v", h.requests())
		}
		r.Settle()
		newcomer := h.add(2, takesAll)
		time.Sleep(6 * time.Second)
		if _, n := r.Stats(); n != 50 || h.count("wire.Offer") != 1 {
			t.Errorf("%d records were handed over by %v", n, h.requests())
		}
		for range 3 { // it comes and goes
			h.Each(1, func(t *table, _ int) { t.Remove(newcomer.Key()) })
			h.add(2, takesAll)
			time.Sleep(6 * time.Second)
		}
		if _, n := r.Stats(); n != 50 {
			t.Errorf("%d records were handed over again within a minute", n-50)
		}
		time.Sleep(time.Minute)
		h.Each(1, func(t *table, _ int) { t.Remove(newcomer.Key()) })
		h.add(2, takesAll)
		time.Sleep(6 * time.Second)
		if _, n := r.Stats(); n != 100 {
			t.Errorf("%d records were handed over in all, want 100", n)
		}
	})
}

// A hand-over pings the neighbours that have been silent for long, because a nearer contact that
// died undetected lowers this node's rank.
func TestHandOverPingsSilentNeighbours(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host, r *Replicator) {
		r.Background.Go(func() { r.HandOver(r.Background.Context()) })
		r.Settle()
		h.hold(t, contents(t, 5, 10))
		dead, alive := h.add(1, nil), h.add(2, takesAll)
		time.Sleep(handOverSilence + time.Second)
		h.mu.Lock()
		h.pinged = nil
		h.mu.Unlock()
		h.add(3, takesAll)
		time.Sleep(6 * time.Second)
		h.mu.Lock()
		defer h.mu.Unlock()
		if !slices.Contains(h.pinged, dead) || !slices.Contains(h.pinged, alive) || slices.Contains(h.pinged, idOf(3)) {
			t.Errorf("pinged %v", h.pinged)
		}
	})
}

// BenchmarkPass is the cost of a pass over 100,000 records: for those that are due, once a
// minute, and for those that a newcomer should hold.
func BenchmarkPass(b *testing.B) {
	h, r := newHost()
	for i := range 200 {
		h.add(i+1, takesAll)
	}
	now, key := time.Now(), testKey(999)
	var items []store.Item
	for i := range 100_000 {
		s, err := wire.Sign(wire.Record{Kind: wire.KindContent, Seq: 1, Expiry: now.Add(20 * time.Hour), Value: fmt.Appendf(nil, "%0512d", i)}, key)
		if err != nil {
			b.Fatal(err)
		}
		items = append(items, store.Item{Record: s})
	}
	h.store.Put(now, items)
	b.Run("due", func(b *testing.B) {
		for b.Loop() {
			if due := r.due(time.Now()); len(due) > 0 {
				b.Fatal("nothing is due yet")
			}
		}
	})
	b.Run("due as many", func(b *testing.B) {
		r.Interval = time.Nanosecond // all of them
		for b.Loop() {
			r.due(time.Now())
		}
		r.Interval = time.Hour
	})
	b.Run("newcomer", func(b *testing.B) {
		newcomer := h.refs.Of(idOf(500)).Contact()
		for b.Loop() {
			for held := range h.store.All(now) {
				h.Each(1, func(t *table, _ int) { t.Heir(held.Key, newcomer.Key) })
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100_000, "ns/record")
	})
}
