package node

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// Records lists what is held, nearest first.
func TestRecords(t *testing.T) {
	inSwarm(t, 3, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		for i := range 20 {
			s.put(s.nodes[0], routing.KeyOf(fmt.Sprint(i)), "value", PutOptions{TTL: time.Hour})
		}
		n := s.nodes[2]
		var keys []routing.Key
		for h := range n.Records() {
			if h.Kind == wire.KindPeer {
				continue
			}
			keys = append(keys, h.Key)
			if h.Kind != wire.KindOpen || h.Publisher != s.nodes[0].ID() || h.Seq == 0 || h.Size < len("value")+64 || h.Cached ||
				h.Shared != n.Key().CommonPrefixLen(h.Key) || time.Until(h.Expiry).Round(time.Minute) != time.Hour ||
				h.Until.Sub(h.Expiry).Abs() > time.Second || time.Since(h.Received) > time.Minute {
				t.Errorf("%+v", h)
			}
		}
		if len(keys) != 20 || !slices.IsSortedFunc(keys, n.Key().CompareDistance) {
			t.Errorf("%d records", len(keys))
		}
		for range n.Records() {
			break
		}
	})
}

// Durability reports for each of the k nearest its version, whether it is behind, and whether it
// answers.
func TestDurability(t *testing.T) {
	inSwarm(t, 0, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		for range 9 {
			s.add(Config{K: 6, RepublishInterval: -1})
		}
		key := routing.KeyOf("x")
		s.put(s.nodes[0], key, "old", PutOptions{Publisher: testKey(100), TTL: time.Hour})
		near := slices.Clone(s.nodes)
		slices.SortFunc(near, func(a, b *Node) int { return key.CompareDistance(a.Key(), b.Key()) })
		holder := func(rank int) int { return slices.Index(s.nodes, near[rank]) }
		asker := near[0]
		check := func(what string, versions, behind []int, count int) Durability {
			t.Helper()
			d, err := asker.Durability(within(t, time.Minute), wire.KindOpen, key)
			if err != nil || d.Kind != wire.KindOpen || d.Key != key || d.Count() != count {
				t.Errorf("%s: count %d, want %d; %v", what, d.Count(), count, err)
			}
			for i, h := range d.Holders {
				if i < len(near) && h.ID != near[i].ID() {
					t.Errorf("%s: rank %d is %s, want %s", what, i, h.ID, near[i].ID())
				}
				if has := slices.Contains(versions, i); has != (len(h.Versions) > 0) || h.Behind != slices.Contains(behind, i) {
					t.Errorf("%s: rank %d has %v, behind %v, %v", what, i, h.Versions, h.Behind, h.Err)
				}
				if (h.ID == asker.ID() || h.Err != nil) != (h.RTT == 0) {
					t.Errorf("%s: rank %d: round trip %v", what, i, h.RTT)
				}
			}
			return d
		}
		check("all have it", []int{0, 1, 2, 3, 4, 5}, nil, 6)

		for _, n := range near[1:3] { // the newer reaches two only
			r := signed(t, 100, wire.Record{Kind: wire.KindOpen, Key: key, Value: []byte("new"),
				Seq: uint64(time.Now().UnixMilli()) + 1, Expiry: time.Now().Add(time.Hour)})
			if err := n.storeLocal(r); err != nil {
				t.Fatal(err)
			}
		}
		check("two have a newer", []int{0, 1, 2, 3, 4, 5}, []int{0, 3, 4, 5}, 2)

		s.kill(holder(2))
		d := check("one is gone", []int{0, 1, 3, 4, 5}, []int{0, 3, 4, 5}, 1)
		if len(d.Holders) != 7 || d.Holders[2].Err == nil || d.Holders[6].Err != nil {
			t.Errorf("holders: %+v", d.Holders)
		}
		if d, err := asker.Durability(within(t, time.Minute), wire.KindOpen, routing.KeyOf("?")); err != nil || d.Count() != 0 {
			t.Errorf("of nothing: %+v, %v", d, err)
		}
		client := s.add(Config{Mode: ModeClient, K: 6})
		for i := range near {
			s.kill(i)
		}
		if _, err := client.Durability(within(t, time.Minute), wire.KindOpen, key); !errors.Is(err, ErrUnreachable) {
			t.Errorf("nobody answers: %v", err)
		}
	})
}
