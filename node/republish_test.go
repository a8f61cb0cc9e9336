package node

import (
	"fmt"
	"iter"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/internal/store"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// addMany starts n nodes with buckets of k.
func (s *testNetwork) addMany(n, k int) {
	s.t.Helper()
	for range n {
		s.add(Config{K: k})
	}
}

// putContent puts count values of which the i-th is text followed by i.
func (s *testNetwork) putContent(text string, count int, ttl time.Duration) (keys []routing.Key) {
	s.t.Helper()
	for i := range count {
		stored := s.put(s.nodes[i%len(s.nodes)], routing.Key{}, fmt.Sprint(text, i), PutOptions{Kind: wire.KindContent, TTL: ttl})
		keys = append(keys, stored.Key)
	}
	return keys
}

// "To optimize ... when a node receives a STORE RPC for a given pair, it assumes
// the RPC was also issued to the other k-1 closest nodes, and thus the recipient
// will not republish the pair in the next hour" (Kademlia §2.5): of six holders
// one republishes a record, which suppresses the others.
func TestOneHolderRepublishes(t *testing.T) {
	inSwarm(t, 0, simnet.Options{Delay: 20 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		s.addMany(14, 6)
		keys := s.putContent("hourly ", 30, 24*time.Hour)
		const hours = 3.25
		time.Sleep(hours * 60 * time.Minute)
		published := int64(len(keys) + len(s.nodes)) // and their peer records
		var republished, offers, stores int64
		for _, n := range s.nodes {
			st := n.Stats()
			republished += st.Republished
			offers += st.Sent.Offer
			stores += st.Sent.Store
		}
		rounds := float64(republished) / float64(published)
		// The first of six comes after an hour and a seventh of a quarter, a record that
		// goes with others after 45 minutes.
		if rounds < math.Floor(hours/(1+0.25/7))-0.5 || rounds > hours/0.75 {
			t.Errorf("each record was republished %.2f times in %v hours", rounds, hours)
		}
		t.Logf("%.2f rounds in %v hours; a record and round: %.2f OFFER, and in all %d STORE of %d records",
			rounds, hours, float64(offers)/float64(republished), stores, published)
		now := time.Now()
		for _, key := range keys {
			for n := range s.trueNearest(key, 6) {
				if h, ok := heldAt(n, wire.KindContent, key); !ok || now.Sub(h.Received) > 80*time.Minute {
					t.Errorf("record %s at %s: held %v, last received %v ago", key, n.ID(), ok, now.Sub(h.Received))
				}
			}
		}
	})
}

// A STORE from the publisher, or from one of the k nearest, suppresses republishing. One from another
// peer does not, or any peer could silence a holder.
func TestStoresThatSuppressRepublishing(t *testing.T) {
	inSwarm(t, 0, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		s.addMany(8, 3)
		var near, far, client, publisher *stranger
		n := s.nodes[0]
		r := signed(t, 1003, wire.Record{Kind: wire.KindOpen, Key: n.key, Seq: 1, Expiry: time.Now().Add(12 * time.Hour), Value: []byte("x")})
		nearest := make([]routing.Key, 0, 9)
		for _, m := range s.nodes[1:] {
			nearest = append(nearest, m.key)
		}
		slices.SortFunc(nearest, n.key.CompareDistance)
		for i := 0; near == nil || far == nil; i++ {
			if i == 3 {
				continue
			}
			id := idOf(testKey(1000 + i))
			switch inner := n.key.CompareDistance(id.Key(), nearest[1]) < 0; {
			case inner && near == nil:
				near = s.stranger(i)
			case !inner && n.key.CompareDistance(id.Key(), nearest[3]) > 0 && far == nil:
				far = s.stranger(i)
			}
		}
		publisher = s.stranger(3)
		publisher.hello.Mode = wire.ModeClient
		client = s.stranger(2000)
		client.hello.Mode = wire.ModeClient
		if err := n.storeLocal(r); err != nil {
			t.Fatal(err)
		}
		offer := wire.Offer{Records: []wire.Offered{{Kind: wire.KindOpen, Key: r.Record.Key, Print: r.Print()}}}
		put := wire.Store{Records: []*wire.Signed{r}}
		for _, c := range []struct {
			name   string
			x      *stranger
			say    wire.Message
			counts bool
		}{
			{"a client's STORE", client, put, false},
			{"a client's OFFER", client, offer, false},
			{"the STORE of a server far away", far, put, false},
			{"the OFFER of a server far away", far, offer, false},
			{"the STORE of one of the k nearest", near, put, true},
			{"the OFFER of one of the k nearest", near, offer, true},
			{"the publisher's STORE", publisher, put, true},
		} {
			before, _ := heldAt(n, wire.KindOpen, r.Record.Key)
			time.Sleep(time.Second)
			k := c.x.meet(n)
			switch m := k.ask(c.say).(type) {
			case wire.Stored:
				if m.Results[0] != wire.CodeOK {
					t.Errorf("%s: %v", c.name, m.Results)
				}
			case wire.Wanted:
				if m.Has(0) {
					t.Errorf("%s: what is held is wanted", c.name)
				}
			default:
				t.Errorf("%s: answered %v", c.name, m)
			}
			after, ok := heldAt(n, wire.KindOpen, r.Record.Key)
			if counts := after.Received.After(before.Received); !ok || counts != c.counts {
				t.Errorf("%s: counts as received: %v, want %v", c.name, counts, c.counts)
			}
			k.conn.Close(wire.CloseIdle, "")
		}
	})
}

// A record ends when its publisher has said, however often it is republished and
// handed over.
func TestRepublishingLengthensNothing(t *testing.T) {
	inSwarm(t, 0, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		s.addMany(8, 4)
		keys := s.putContent("mortal ", 10, 4*time.Hour)
		time.Sleep(4*time.Hour - 10*time.Minute)
		s.addMany(4, 4)
		time.Sleep(9 * time.Minute)
		for _, key := range keys {
			if held := s.whoHolds(wire.KindContent, key); len(held) < 4 {
				t.Errorf("a minute before its end a record is at %d nodes", len(held))
			}
		}
		time.Sleep(time.Minute)
		for _, key := range keys {
			if held := s.whoHolds(wire.KindContent, key); len(held) > 0 {
				t.Errorf("after its end a record is at %d nodes", len(held))
			}
		}
	})
}

// A holder whose clock is behind keeps a record longer than others. No peer accepts it from it.
func TestAHolderWithAWrongClockLengthensNothing(t *testing.T) {
	inSwarm(t, 0, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		s.addMany(4, 4)
		slow := s.make(Config{K: 4})
		slow.values = &shifted{slow.values, 6 * time.Hour}
		if err := slow.Start(within(t, time.Minute)); err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		r := signed(t, 100, wire.Record{Kind: wire.KindContent, Seq: 1, Expiry: now.Add(30 * time.Minute), Value: []byte("late")})
		if err := slow.values.Put(now, []store.Item{{Record: r}})[0]; err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Minute)
		s.addMany(1, 4)
		time.Sleep(time.Minute)
		if held := s.whoHolds(wire.KindContent, r.Record.Key); len(held) < 2 {
			t.Errorf("while it lived it was at %d nodes", len(held))
		}
		time.Sleep(3 * time.Hour) // it is republished, and a newcomer is handed it
		s.addMany(1, 4)
		time.Sleep(time.Minute)
		if held := s.whoHolds(wire.KindContent, r.Record.Key); len(held) != 1 || held[0] != slow {
			t.Errorf("after its end it is at %d nodes", len(held))
		}
		if n := slow.Stats().Republished; n == 0 {
			t.Error("the slow one republished nothing, so nothing was tried")
		}
	})
}

// shifted is a store whose clock is behind.
type shifted struct {
	store.Store
	by time.Duration
}

func (s *shifted) Put(now time.Time, batch []store.Item) []error {
	return s.Store.Put(now.Add(-s.by), batch)
}

func (s *shifted) Get(now time.Time, kind wire.Kind, key routing.Key, n int) []*wire.Signed {
	return s.Store.Get(now.Add(-s.by), kind, key, n)
}

func (s *shifted) Has(now time.Time, r *wire.Signed) bool { return s.Store.Has(now.Add(-s.by), r) }

func (s *shifted) Offer(now time.Time, offered []wire.Offered, suppresses func(int) bool) []bool {
	return s.Store.Offer(now.Add(-s.by), offered, suppresses)
}

func (s *shifted) All(now time.Time) iter.Seq[store.Held] {
	return func(yield func(store.Held) bool) {
		for h := range s.Store.All(now.Add(-s.by)) {
			h.Received, h.Until = h.Received.Add(s.by), h.Until.Add(s.by)
			if !yield(h) {
				return
			}
		}
	}
}

func (s *shifted) Load(now time.Time, h store.Held) *wire.Signed {
	return s.Store.Load(now.Add(-s.by), h)
}

func (s *shifted) Expire(now time.Time) int { return s.Store.Expire(now.Add(-s.by)) }

// A node that comes back with many records sends them again evenly over the
// first hour, and those it meets as it joins are handed nothing.
func TestARestartIsNoStorm(t *testing.T) {
	inSwarm(t, 0, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		s.addMany(5, 20)
		records := contents(t, 3000, 10)
		back := s.make(Config{K: 20})
		time.Sleep(time.Second)
		for _, r := range records {
			if err := back.storeLocal(r); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		if err := back.Start(within(t, time.Minute)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Second)
		if st := back.Stats(); st.HandedOver > 0 || st.Republished > 256 {
			t.Errorf("half a minute after the start %d records were handed over, %d republished", st.HandedOver, st.Republished)
		}
		before, most := int64(0), int64(0)
		for range 70 {
			time.Sleep(time.Minute)
			n := back.Stats().Republished
			most = max(most, n-before)
			before = n
		}
		if before < 3000 || most > 2*256 {
			t.Errorf("%d records were republished in 70 minutes, %d in one", before, most)
		}
		st := back.Stats()
		t.Logf("3000 records to 5 nodes that lack them: %d OFFER, %d STORE; %d records at most in a minute", st.Sent.Offer, st.Sent.Store, most)
		for i := range 5 {
			if held := s.nodes[i].Stats().Records; held < 3000 {
				t.Errorf("node %d holds %d records", i, held)
			}
		}
	})
}

// Where one of the k nearest has died unnoticed, the next takes its place in the
// same round.
func TestRepublishGoesOnToTheNext(t *testing.T) {
	inSwarm(t, 0, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		s.addMany(10, 4)
		keys := s.putContent("survivor ", 5, 24*time.Hour)
		for n := range s.trueNearest(keys[0], 2) {
			n.Kill()
		}
		time.Sleep(80 * time.Minute)
		for _, key := range keys {
			for n := range s.trueNearest(key, 4) {
				if _, ok := heldAt(n, wire.KindContent, key); !ok {
					t.Errorf("record %s is not at %s, one of the 4 nearest", key, n.ID())
				}
			}
		}
	})
}
