package node

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/wire"
)

// contents makes content records, each with a value of that many bytes or a few
// more.
func contents(t *testing.T, count, size int) []*wire.Signed {
	t.Helper()
	records := make([]*wire.Signed, count)
	for i := range records {
		value := fmt.Appendf(make([]byte, size), "value %d", i)
		records[i] = signed(t, 1, wire.Record{Kind: wire.KindContent, Seq: 1, Expiry: time.Now().Add(20 * time.Hour), Value: value})
	}
	return records
}

// offeredRecords are records that are offered first. They count what is in
// memory.
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

// Records are offered a thousand at a time, and those wanted follow in frames as
// full as may be. No more of them than a frame holds is loaded at once.
func TestDeliverOffersThenStores(t *testing.T) {
	inSwarm(t, 1, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		n, x := s.nodes[0], s.stranger(0)
		cargo := &offeredRecords{freshRecords: contents(t, 1500, 2000)}
		var offers, stores []int
		got := make(map[wire.Print]bool)
		before := int32(0)
		x.join(n, func(_ wire.PeerID, m wire.Message) wire.Message {
			switch m := m.(type) {
			case wire.Offer:
				offers = append(offers, len(m.Records))
				w := wire.NewWanted(len(m.Records))
				for i := range m.Records {
					if i%3 == 0 {
						w.Set(i)
					}
				}
				return w
			case wire.Store:
				stores = append(stores, len(m.Records))
				for _, r := range m.Records {
					got[r.Print()] = true
				}
				if loads := cargo.loads.Load() - before; loads > wire.MaxStore+1 {
					t.Errorf("%d records were loaded between two frames", loads)
				}
				before = cargo.loads.Load()
				results := make([]wire.Code, len(m.Records))
				results[0] = wire.CodeFull
				return wire.Stored{Results: results}
			}
			return wire.Pong{}
		})
		held, sent, err := n.deliver(within(t, time.Minute), x.id, cargo, numbers(1500))
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

// A peer that does not know OFFER is sent everything. One that is busy is asked
// again, after a while.
func TestDeliverToPeersWithoutOffer(t *testing.T) {
	inSwarm(t, 1, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		n, x := s.nodes[0], s.stranger(0)
		stores, busy := 0, 0
		x.join(n, func(_ wire.PeerID, m wire.Message) wire.Message {
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
		held, sent, err := n.deliver(within(t, time.Minute), x.id, &offeredRecords{freshRecords: contents(t, 200, 10)}, numbers(200))
		if err != nil || count(held) != 200 || sent != 200 || busy != 4 {
			t.Errorf("%d held, %d sent, busy %d times, %v", count(held), sent, busy, err)
		}
		if took := time.Since(start); took < 4*time.Second || took > 8*time.Second {
			t.Errorf("four times busy took %v", took)
		}
	})
}

// A peer that has no room at all is not sent all there is to find that out.
func TestDeliverToTheFull(t *testing.T) {
	inSwarm(t, 1, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		n, x := s.nodes[0], s.stranger(0)
		stores := 0
		x.join(n, func(_ wire.PeerID, m wire.Message) wire.Message {
			switch m := m.(type) {
			case wire.Store:
				stores++
				results := slices.Repeat([]wire.Code{wire.CodeFull}, len(m.Records))
				if stores == 1 {
					results[7] = wire.CodeOK
				}
				return wire.Stored{Results: results}
			case wire.Offer:
				w := wire.NewWanted(len(m.Records))
				for i := range m.Records {
					w.Set(i)
				}
				return w
			}
			return wire.Pong{}
		})
		held, sent, err := n.deliver(within(t, time.Minute), x.id, &offeredRecords{freshRecords: contents(t, 3000, 10)}, numbers(3000))
		if err != nil || count(held) != 1 || sent != 1 || stores != 2 {
			t.Errorf("%d held, %d sent in %d STOREs, %v; want 1, and an end after the second", count(held), sent, stores, err)
		}
	})
}

// A delivery keeps below what its receiver takes: 20 MiB arrive, nothing is
// refused, and requests of others on the same connection are not either.
func TestDeliverKeepsToTheReceiversLimits(t *testing.T) {
	inSwarm(t, 2, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		a, b := s.nodes[0], s.nodes[1]
		records := contents(t, 1200, 8000)
		start := time.Now()
		done := make(chan bool)
		go func() {
			defer close(done)
			held, sent, err := a.deliver(t.Context(), b.ID(), freshRecords(records), numbers(len(records)))
			if err != nil || count(held) != len(records) || sent != len(records) {
				t.Errorf("%d held, %d sent, %v", count(held), sent, err)
			}
		}()
		for range 20 {
			time.Sleep(time.Second)
			for range 20 {
				if _, err := a.Ask(within(t, time.Minute), b.ID(), a.Key()); err != nil {
					t.Error(err)
				}
			}
		}
		<-done
		took := time.Since(start)
		if least := time.Duration(1200*8000-paceBurst) * time.Second / paceBytes; took < least || took > least+10*time.Second {
			t.Errorf("took %v, want a little more than %v", took, least)
		}
		if stores := b.Stats().Served.Store; stores > 1200/7+5 {
			t.Errorf("%d STOREs for 1200 records of 8 KB, of which 7 fit one", stores)
		}
	})
}

// A receiver that answers nothing, or one small request in seconds, is left to
// itself after a while, and does not hold up the others.
func TestSlowReceiversDoNotDelayOthers(t *testing.T) {
	inSwarm(t, 4, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		n := s.nodes[0]
		s.stranger(0).join(n, func(wire.PeerID, wire.Message) wire.Message { return nil })
		slow := s.stranger(1)
		var over atomic.Bool
		slow.join(n, func(_ wire.PeerID, m wire.Message) wire.Message {
			if !over.Load() {
				time.Sleep(4 * time.Second)
			}
			if m, ok := m.(wire.Store); ok {
				return wire.Stored{Results: make([]wire.Code, len(m.Records))}
			}
			return wire.Pong{}
		})
		records := contents(t, 3000, 10)
		start := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			r := n.newReplication(freshRecords(records))
			r.run(t.Context(), []route{
				{s.stranger(2).id, numbers(3000)}, // an unknown peer
				{idOf(testKey(1000)), numbers(3000)},
				{slow.id, numbers(3000)},
				{s.nodes[1].ID(), numbers(3000)},
				{s.nodes[2].ID(), numbers(3000)},
				{s.nodes[3].ID(), numbers(3000)},
			})
			if took := time.Since(start); took > 2*time.Minute {
				t.Errorf("took %v", took)
			}
			for i, acks := range r.acks {
				if acks < 3 {
					t.Errorf("record %d is on %d nodes, want 3", i, acks)
					return
				}
			}
		})
		time.Sleep(10 * time.Second)
		for i := 1; i < 4; i++ {
			if held := s.nodes[i].Stats().Records; held < 3000 {
				t.Errorf("after 10 s node %d holds %d records", i, held)
			}
		}
		wg.Wait()
		over.Store(true)
		time.Sleep(10 * time.Second) // the slow one's last answer
	})
}
