package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/search"
	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/internal/store"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// crowd puts one open record of each of many publishers under a key.
func (s *testNetwork) crowd(key routing.Key, publishers int) {
	s.t.Helper()
	for i := range publishers {
		s.put(s.nodes[0], key, fmt.Sprint("from ", i), PutOptions{Publisher: testKey(100 + i)})
	}
}

// Values yields one record of each publisher until the walk's end.
func TestValuesYieldsEveryPublisher(t *testing.T) {
	inSwarm(t, 4, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		key := routing.KeyOf("room")
		s.crowd(key, wire.MaxRecords)
		client := s.add(Config{Mode: ModeClient})
		got := make(map[string]int)
		for v, err := range client.Values(within(t, time.Minute), key, nil) {
			if err != nil {
				t.Fatal(err)
			}
			if v.Key != key || v.Kind != wire.KindOpen || v.From.IsZero() || v.Expiry.Before(time.Now()) {
				t.Errorf("value: %+v", v)
			}
			got[string(v.Data)]++
		}
		if len(got) != wire.MaxRecords {
			t.Errorf("values: %v", got)
		}
		for value, times := range got {
			if times != 1 {
				t.Errorf("%q came %d times", value, times)
			}
		}
		// With a quorum it ends there.
		n := 0
		before := client.Stats().Sent.FindValue
		for range client.Values(within(t, time.Minute), key, &GetOptions{Quorum: 1}) {
			n++
		}
		if asked := client.Stats().Sent.FindValue - before; n != wire.MaxRecords || asked > 3 {
			t.Errorf("quorum 1: %d values of %d peers", n, asked)
		}
	})
}

// A key may have more records than fit into one reply. All of them are found, and records that expire
// later hide none.
func TestValuesOfAWholeCrowd(t *testing.T) {
	inSwarm(t, 4, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		key := routing.KeyOf("guestbook")
		const guests = wire.MaxPage + 8 // two pages
		for i := range guests {
			o := PutOptions{Publisher: testKey(100 + i), TTL: time.Hour}
			if i == 7 {
				o.TTL = 10 * time.Minute
			}
			s.put(s.nodes[0], key, fmt.Sprintf("guest %02d", i), o)
		}
		for _, n := range []*Node{s.nodes[1], s.add(Config{Mode: ModeClient})} {
			got := make(map[string]int)
			for v, err := range n.Values(within(t, time.Minute), key, nil) {
				if err != nil {
					t.Fatal(err)
				}
				got[string(v.Data)]++
			}
			if len(got) != guests {
				t.Errorf("%v found %d guests of %d: %v", n.mode(), len(got), guests, got)
			}
			seventh := func(a, b Value) bool { return string(a.Data) == "guest 07" }
			s.wantGet(n, key, GetOptions{Selector: seventh}, "guest 07")
		}
		d, err := s.nodes[1].Durability(within(t, time.Minute), wire.KindOpen, key)
		if err != nil || d.Count() != 4 || len(d.Holders[0].Versions) != guests {
			t.Errorf("durability: %v, held by %d", err, d.Count())
		}
	})
}

// A newer record of a publisher that was yielded already is yielded again.
func TestValuesYieldsTheNewerAgain(t *testing.T) {
	inSwarm(t, 0, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		s.addNegligent(5)
		key := routing.KeyOf("news")
		s.put(s.nodes[0], key, "old", PutOptions{})
		// The getter is cut off while the newer is put, so that it holds the older.
		s.net.Partition(hosts(4, 5))
		s.put(s.nodes[0], key, "new", PutOptions{})
		s.net.Heal()
		time.Sleep(10 * time.Minute)
		var got []string
		for v, err := range s.nodes[4].Values(within(t, time.Minute), key, nil) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(v.Data))
		}
		if fmt.Sprint(got) != "[old new]" {
			t.Errorf("values: %v", got)
		}
	})
}

// Breaking off the loop ends the lookup at once.
func TestValuesBreak(t *testing.T) {
	inSwarm(t, 4, simnet.Options{Delay: 100 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		key := routing.KeyOf("room")
		s.crowd(key, 3)
		client := s.add(Config{Mode: ModeClient})
		start := time.Now()
		for _, err := range client.Values(within(t, time.Minute), key, nil) {
			if err != nil {
				t.Error(err)
			}
			break
		}
		if took := time.Since(start); took > 250*time.Millisecond {
			t.Errorf("the first value and the break took %v", took)
		}
	})
}

// When the context ends, the values found so far are yielded, and its error comes last.
func TestValuesCancelled(t *testing.T) {
	inSwarm(t, 4, simnet.Options{Delay: 100 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		key := routing.KeyOf("room")
		s.crowd(key, 3)
		client := s.add(Config{Mode: ModeClient})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		found := 0
		var last error
		for _, err := range client.Values(ctx, key, nil) {
			cancel()
			if last != nil {
				t.Error("something came after the error")
			}
			if last = err; err == nil {
				found++
			}
		}
		if found == 0 || !errors.Is(last, context.Canceled) {
			t.Errorf("%d found, then %v", found, last)
		}
	})
}

// Nothing found is one error, not a silence.
func TestValuesNotFound(t *testing.T) {
	inSwarm(t, 2, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		n := 0
		for _, err := range s.nodes[0].Values(within(t, time.Minute), routing.KeyOf("?"), nil) {
			if n++; !errors.Is(err, ErrNotFound) {
				t.Error(err)
			}
		}
		if n != 1 {
			t.Errorf("%d yields", n)
		}
	})
}

// A get that finds its own copy behind mends it. It does not make a holder of a node
// that only had a copy for a while, and would not hear of the next version.
func TestMendedCopiesAreShortLived(t *testing.T) {
	inSwarm(t, 0, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		for range 12 {
			s.add(Config{K: 3})
		}
		key := routing.KeyOf("popular")
		far := slices.MaxFunc(s.nodes, func(a, b *Node) int { return key.CompareDistance(a.Key(), b.Key()) })
		put := PutOptions{Publisher: testKey(100)}
		s.put(s.nodes[0], key, "first", put)
		s.wantGet(far, key, GetOptions{}, "first")
		holder := s.nodes[s.holders(wire.KindOpen, key, "first")[0]]
		first := holder.values.Get(time.Now(), wire.KindOpen, key, 1)
		if err := far.values.Put(time.Now(), []store.Item{{Record: first[0], Cached: true, Life: 5 * time.Minute}})[0]; err != nil {
			t.Fatal(err)
		}
		s.put(s.nodes[0], key, "second", put)
		s.wantGet(far, key, GetOptions{Quorum: 4}, "second")
		if !far.HasRecord(wire.KindOpen, key) {
			t.Error("its own copy is gone")
		}
		s.put(s.nodes[0], key, "third", put)
		time.Sleep(6 * time.Minute)
		if far.HasRecord(wire.KindOpen, key) {
			t.Error("its own copy is still there, and answers first")
		}
		s.wantGet(far, key, GetOptions{Quorum: 4}, "third")
	})
}

// A get leaves a copy at the nearest node that had none (Kademlia §2.3), for
// five minutes at most where the value may change.
func TestGetCachesWhereItWasMissing(t *testing.T) {
	inSwarm(t, 0, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		for range 12 {
			s.add(Config{K: 3})
		}
		key := routing.KeyOf("popular")
		s.put(s.nodes[0], key, "x", PutOptions{})
		before := s.holders(wire.KindOpen, key, "x")
		if len(before) != 3 {
			t.Fatalf("held at %v", before)
		}
		client := s.add(Config{K: 3, Mode: ModeClient})
		for range 3 {
			s.wantGet(client, key, GetOptions{Quorum: 3}, "x")
		}
		time.Sleep(time.Second)
		if after := s.holders(wire.KindOpen, key, "x"); len(after) < 4 {
			t.Errorf("held at %v, and after gets at %v", before, after)
		}
		time.Sleep(6 * time.Minute)
		if left := s.holders(wire.KindOpen, key, "x"); fmt.Sprint(left) != fmt.Sprint(before) {
			t.Errorf("six minutes later held at %v, want %v", left, before)
		}
	})
}

// A peer that lies about the records under a key costs little time, and hides no record that other
// peers have.
func TestValueLiars(t *testing.T) {
	key := routing.KeyOf("guestbook")
	for name, c := range map[string]struct {
		lie   func(crowd []*wire.Signed, asks int, m wire.FindValue) wire.Message
		asks  int // how often it is asked at most
		found int // its own records that the search finds
		takes time.Duration
	}{
		"endless": {func(crowd []*wire.Signed, _ int, m wire.FindValue) wire.Message {
			records := pageOf(crowd, m.After)
			return wire.Value{More: true, Records: records}
		}, search.MaxPages, search.MaxPages * wire.MaxPage, 3 * time.Second},
		"the same page again": {func(crowd []*wire.Signed, _ int, _ wire.FindValue) wire.Message {
			records := pageOf(crowd, wire.PeerID{})
			return wire.Value{More: true, Records: records}
		}, 2, wire.MaxPage, time.Second},
		"more of nothing": {func([]*wire.Signed, int, wire.FindValue) wire.Message {
			return wire.Value{More: true}
		}, 1, 0, time.Second},
		"forged": {func(crowd []*wire.Signed, _ int, m wire.FindValue) wire.Message {
			records := pageOf(crowd, m.After)
			for i, r := range records {
				forged := *r
				forged.Signature[3] ^= 1
				records[i] = &forged
			}
			return wire.Value{More: true, Records: records}
		}, 2, 0, time.Second},
		"too many": {func(crowd []*wire.Signed, _ int, _ wire.FindValue) wire.Message {
			return wire.Value{Records: crowd[:wire.MaxPage+1]}
		}, 1, 0, time.Second},
		"silence after the first page": {func(crowd []*wire.Signed, asks int, m wire.FindValue) wire.Message {
			if asks > 1 {
				return nil
			}
			records := pageOf(crowd, m.After)
			return wire.Value{More: true, Records: records}
		}, 2, wire.MaxPage, 6 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inSwarm(t, 4, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
				var crowd []*wire.Signed
				for i := range (c.asks + 2) * wire.MaxPage {
					crowd = append(crowd, signed(t, 2000+i, wire.Record{Kind: wire.KindOpen, Key: key, Seq: 1, Expiry: time.Now().Add(time.Hour)}))
				}
				var asks atomic.Int32
				s.stranger(0).join(s.nodes[0], func(_ wire.PeerID, m wire.Message) wire.Message {
					switch m := m.(type) {
					case wire.FindValue:
						return c.lie(crowd, int(asks.Add(1)), m)
					case wire.Store:
						return wire.Stored{Results: make([]wire.Code, len(m.Records))}
					case wire.FindNode:
						return wire.Nodes{}
					}
					return wire.Pong{}
				})
				s.crowd(key, 2)
				client := s.add(Config{Mode: ModeClient})
				start := time.Now()
				genuine, lies := 0, 0
				for v, err := range client.Values(within(t, time.Minute), key, nil) {
					switch {
					case err != nil:
						t.Error(err)
					case len(v.Data) > 0:
						genuine++
					default:
						lies++
					}
				}
				if took := time.Since(start); took > c.takes {
					t.Errorf("took %v", took)
				}
				if genuine != 2 || lies != c.found {
					t.Errorf("found %d and %d of the liar's, want 2 and %d", genuine, lies, c.found)
				}
				if n := int(asks.Load()); n == 0 || n > c.asks {
					t.Errorf("the liar was asked %d times, want %d", n, c.asks)
				}
				time.Sleep(5 * time.Second) // the silent one ends
			})
		})
	}
}
