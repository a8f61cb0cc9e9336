package replica

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// offeredRecords are records that are offered first. They count what is in memory.
type offeredRecords struct {
	freshRecords
	loads atomic.Int32
}

func (*offeredRecords) Fresh() bool { return false }

func (c *offeredRecords) Load(i int) *wire.Signed {
	c.loads.Add(1)
	return c.freshRecords.Load(i)
}

func numbers(n int) []int32 {
	which := make([]int32, n)
	for i := range which {
		which[i] = int32(i)
	}
	return which
}

func count(held []bool) (n int) {
	for _, h := range held {
		if h {
			n++
		}
	}
	return n
}

// A delivery offers records a thousand at a time. Those that the peer wants follow in frames as
// full as may be. No more than a frame of records is in memory.
func TestDeliveryOffersThenStores(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host, r *Replicator) {
		batch := &offeredRecords{freshRecords: contents(t, 1500, 2000)}
		var offers, stores []int
		got := make(map[wire.Print]bool)
		before := int32(0)
		x := h.add(1, func(m wire.Message) wire.Message {
			switch m := m.(type) {
			case wire.Offer:
				offers = append(offers, len(m.Records))
				return wants(m, func(i int) bool { return i%3 == 0 })
			case wire.Store:
				stores = append(stores, len(m.Records))
				for _, s := range m.Records {
					got[s.Print()] = true
				}
				if loads := batch.loads.Load() - before; loads > wire.MaxStore+1 {
					t.Errorf("%d records were loaded between two frames", loads)
				}
				before = batch.loads.Load()
				results := make([]wire.Code, len(m.Records))
				results[0] = wire.CodeFull
				return wire.Stored{Results: results}
			}
			return wire.Pong{}
		})
		held, sent, err := r.deliver(t.Context(), x, batch, numbers(1500))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(offers, []int{1024, 476}) {
			t.Errorf("offers of %v records", offers)
		}
		if len(got) != 342+159 || len(stores) > 19 { // 28 in a frame
			t.Errorf("%d records came in %d frames: %v", len(got), len(stores), stores)
		}
		if want := 1500 - len(stores); count(held) != want || sent != len(got)-len(stores) {
			t.Errorf("%d held, %d sent; want %d, %d: the peer had no room for the first of each frame", count(held), sent, want, len(got)-len(stores))
		}
	})
}

// A peer that does not implement OFFER is sent everything. A busy peer is asked again, after a
// while.
func TestDeliveryToPeersWithoutOffer(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host, r *Replicator) {
		stores, busy := 0, 0
		x := h.add(1, func(m wire.Message) wire.Message {
			switch m := m.(type) {
			case wire.Offer:
				return wire.Error{Code: wire.CodeUnimplemented}
			case wire.Store:
				if stores++; stores%2 == 1 {
					busy++
					return wire.Error{Code: wire.CodeBusy}
				}
				return wire.Stored{Results: make([]wire.Code, len(m.Records))}
			}
			return wire.Pong{}
		})
		start := time.Now()
		held, sent, err := r.deliver(t.Context(), x, &offeredRecords{freshRecords: contents(t, 200, 10)}, numbers(200))
		if err != nil || count(held) != 200 || sent != 200 || busy != 4 {
			t.Errorf("%d held, %d sent, busy %d times, %v", count(held), sent, busy, err)
		}
		if took := time.Since(start); took < 4*time.Second || took > 8*time.Second {
			t.Errorf("four times busy took %v", took)
		}
	})
}

// A peer without room for any record is not sent all of them to find that out.
func TestDeliveryToAFullPeer(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host, r *Replicator) {
		stores := 0
		x := h.add(1, func(m wire.Message) wire.Message {
			s, ok := m.(wire.Store)
			if !ok {
				return takesAll(m)
			}
			stores++
			results := slices.Repeat([]wire.Code{wire.CodeFull}, len(s.Records))
			if stores == 1 {
				results[7] = wire.CodeOK
			}
			return wire.Stored{Results: results}
		})
		held, sent, err := r.deliver(t.Context(), x, &offeredRecords{freshRecords: contents(t, 3000, 10)}, numbers(3000))
		if err != nil || count(held) != 1 || sent != 1 || stores != 2 {
			t.Errorf("%d held, %d sent in %d STOREs, %v; want 1, and an end after the second", count(held), sent, stores, err)
		}
	})
}

// A peer without room under one key still gets the records of other keys.
func TestFullKeyDoesNotDelayOtherKeys(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host, r *Replicator) {
		hot, stores := routing.KeyOf("hot"), 0
		x := h.add(1, func(m wire.Message) wire.Message {
			s := m.(wire.Store)
			stores++
			results := make([]wire.Code, len(s.Records))
			for i, r := range s.Records {
				if r.Record.Key == hot {
					results[i] = wire.CodeFull
				}
			}
			return wire.Stored{Results: results}
		})
		var all freshRecords
		for range 3 * wire.MaxStore {
			all = append(all, signed(t, wire.Record{Kind: wire.KindOpen, Key: hot}))
		}
		all = append(all, signed(t, wire.Record{Kind: wire.KindOpen, Key: routing.KeyOf("other")}))
		held, sent, err := r.deliver(t.Context(), x, all, numbers(len(all)))
		if err != nil || sent != 1 || !held[len(all)-1] {
			t.Errorf("%d records were taken, the last: %v, %v", sent, held[len(all)-1], err)
		}
		if stores > 2 {
			t.Errorf("%d STOREs for what the peer has no room for", stores)
		}
	})
}

// A delivery stays below the limits of the receiver, over all deliveries to it.
func TestDeliveriesKeepTheReceiversPace(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host, r *Replicator) {
		x := h.add(1, takesAll)
		records := contents(t, 300, 8000)
		start := time.Now()
		for range 4 { // deliveries, one after the other
			held, sent, err := r.deliver(t.Context(), x, freshRecords(records), numbers(len(records)))
			if err != nil || count(held) != len(records) || sent != len(records) {
				t.Errorf("%d held, %d sent, %v", count(held), sent, err)
			}
		}
		took := time.Since(start)
		if least := time.Duration(1200*8000-paceBurst) * time.Second / paceBytes; took < least || took > least+10*time.Second {
			t.Errorf("took %v, want a little more than %v", took, least)
		}
	})
}

// A pacer is forgotten when it is full again, and no earlier.
func TestPacersAreForgottenWhenFull(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *host, r *Replicator) {
		p := r.pacers.get(idOf(1), time.Now())
		if err := p.wait(t.Context(), paceBurst, requestBurst); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		r.pacers.swept = time.Time{}
		if r.pacers.get(idOf(1), time.Now()) != p {
			t.Error("a peer has a new pacer while the old one is not full")
		}
		time.Sleep(pacerSweep)
		if r.pacers.get(idOf(2), time.Now()); len(r.pacers.of) != 1 {
			t.Errorf("%d pacers are kept, want that of one peer", len(r.pacers.of))
		}
	})
}

// A receiver that cannot be reached, answers nothing, or answers one small request in seconds,
// gets no more after a while, and does not delay the others.
func TestSlowReceiversDoNotDelayOthers(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host, r *Replicator) {
		silent := h.add(1, func(wire.Message) wire.Message { return nil })
		slow := h.add(2, func(m wire.Message) wire.Message {
			time.Sleep(4 * time.Second)
			return takesAll(m)
		})
		routes := []route{{idOf(9), numbers(3000)}, {silent, numbers(3000)}, {slow, numbers(3000)}}
		var got [3]atomic.Int32
		for i := range got {
			routes = append(routes, route{h.add(3+i, func(m wire.Message) wire.Message {
				got[i].Add(int32(len(m.(wire.Store).Records)))
				return takesAll(m)
			}), numbers(3000)})
		}
		p := r.newReplication(freshRecords(contents(t, 3000, 10)))
		start := time.Now()
		done := make(chan []int32)
		go func() { done <- p.run(t.Context(), routes) }()
		time.Sleep(10 * time.Second)
		for i := range got {
			if n := got[i].Load(); n < 3000 {
				t.Errorf("after 10 s peer %d has %d records", 3+i, n)
			}
		}
		again := <-done
		if took := time.Since(start); took > 2*time.Minute {
			t.Errorf("took %v", took)
		}
		if len(again) != 3000 || slices.Min(p.acks) < 3 {
			t.Errorf("%d records are to be sent again; the fewest copies: %d", len(again), slices.Min(p.acks))
		}
	})
}

// A delivery ends with its context.
func TestDeliveryEndsWithItsContext(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host, r *Replicator) {
		x := h.add(1, func(wire.Message) wire.Message { return wire.Error{Code: wire.CodeBusy} })
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		start := time.Now()
		if _, _, err := r.deliver(ctx, x, freshRecords(contents(t, 1, 10)), numbers(1)); err == nil || time.Since(start) > 2*time.Second {
			t.Errorf("ended after %v: %v", time.Since(start), err)
		}
	})
}
