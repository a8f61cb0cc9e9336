package node

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/internal/store"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// addHot starts n nodes with k 5, whose stores have these limits.
func (s *testNetwork) addHot(n int, l store.Limits) {
	s.t.Helper()
	for range n {
		x := s.make(Config{K: 5})
		x.values = store.NewMemory(x.key, l)
		if err := x.Start(within(s.t, time.Minute)); err != nil {
			s.t.Fatal(err)
		}
	}
}

// valuesOf returns the publishers whose open records a node finds under key.
func (s *testNetwork) valuesOf(n *Node, key routing.Key) map[wire.PeerID]bool {
	s.t.Helper()
	got := make(map[wire.PeerID]bool)
	for v, err := range n.Values(within(s.t, time.Minute), key, nil) {
		if err != nil {
			s.t.Errorf("values: %v", err)
			break
		}
		got[v.Publisher] = true
	}
	return got
}

// A key has room for 300 publishers, and every way of reading returns the records that puts have
// acknowledged.
func TestHotKeyHoldsAcknowledgedRecords(t *testing.T) {
	inSwarm(t, 0, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		s.addHot(8, store.Limits{})
		key := routing.KeyOf("hot")
		const publishers = 300
		for i := range publishers {
			st, err := s.nodes[i%3].Put(within(t, time.Minute), key, []byte(fmt.Sprint(i)), &PutOptions{TTL: 5 * time.Hour, Publisher: testKey(1000 + i)})
			if err != nil || st.Count != 5 || st.Of != 5 {
				t.Fatalf("put %d: %v, %v", i, st, err)
			}
		}
		for _, n := range s.nodes[2:5] {
			if got := s.valuesOf(n, key); len(got) != publishers {
				t.Errorf("%d values found, want %d", len(got), publishers)
			}
		}
		d, err := s.nodes[1].Durability(within(t, time.Minute), wire.KindOpen, key)
		if err != nil || d.Count() != 5 {
			t.Errorf("durability: held by %d, %v", d.Count(), err)
		}
		for _, h := range d.Holders {
			if len(h.Versions) != publishers {
				t.Errorf("durability: %s has %d versions, want %d", h.ID, len(h.Versions), publishers)
			}
		}
	})
}

// When the room of a key is used up, puts say so: they count only holders that have the record and
// that readers ask, and acknowledged records stay.
func TestFullKeyIsToldOf(t *testing.T) {
	inSwarm(t, 0, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		s.addHot(10, store.Limits{KeyRecords: 64})
		key := routing.KeyOf("hot")
		nearest := s.trueNearest(key, 5)
		holders := func(p wire.PeerID) (n int) {
			for x := range nearest {
				for _, r := range x.values.Get(time.Now(), wire.KindOpen, key, 1000) {
					if r.Record.Publisher == p {
						n++
					}
				}
			}
			return n
		}
		said := make(map[wire.PeerID]int)
		refused := 0
		for i := range 90 {
			k := testKey(1000 + i)
			st, err := s.nodes[i%6].Put(within(t, time.Minute), key, []byte("v"), &PutOptions{TTL: 20 * time.Hour, Publisher: k})
			var perr *PutError
			if err != nil && (!errors.As(err, &perr) || !errors.Is(errors.Join(slices.Collect(maps.Values(perr.Causes))...), wire.CodeFull)) {
				t.Fatalf("put %d: %v, %v", i, st, err)
			}
			if said[idOf(k)] = st.Count; st.Count == 0 {
				refused++
			}
			if (err != nil) != (st.Count == 0) || st.Count != holders(idOf(k)) {
				t.Fatalf("put %d: %v, %v; %d of the nearest have it", i, st, err, holders(idOf(k)))
			}
		}
		if refused < 15 || refused > 75 {
			t.Errorf("%d of 90 puts were refused", refused)
		}
		read := func(when string) {
			t.Helper()
			got := s.valuesOf(s.nodes[9], key)
			for p, n := range said {
				if (n > 0) != got[p] {
					t.Errorf("%s: put said %d, and it is read: %v", when, n, got[p])
				}
			}
		}
		read("at once")
		time.Sleep(2 * time.Hour) // holders republish
		read("after two hours")
		for p, n := range said {
			if holders(p) < n {
				t.Errorf("%d holders of %d are left", holders(p), n)
			}
		}
	})
}

// A key has room for 512 providers, and all are found.
func TestManyProviders(t *testing.T) {
	inSwarm(t, 0, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		s.addHot(6, store.Limits{})
		key := routing.KeyOf("a book")
		const providers = 512
		var all []*wire.Signed
		for i := range providers {
			all = append(all, provided(t, 1000+i, key, "25.9.9.9:4774", "25.9.9.10:4774"))
		}
		for i, acks := range s.nodes[0].replica.Replicate(t.Context(), all) {
			if acks != 5 {
				t.Fatalf("provider %d is held by %d", i, acks)
			}
		}
		for _, n := range []*Node{s.nodes[0], s.nodes[5]} {
			if got := found(t, n, key); len(got) != providers {
				t.Errorf("%d providers found, want %d", len(got), providers)
			}
		}
		d, err := s.nodes[1].Durability(within(t, time.Minute), wire.KindProvider, key)
		if err != nil || len(d.Holders) != 5 {
			t.Fatalf("durability: %v", err)
		}
		for _, h := range d.Holders {
			if len(h.Versions) != providers {
				t.Errorf("durability: %s has %d versions, want %d", h.ID, len(h.Versions), providers)
			}
		}
	})
}
