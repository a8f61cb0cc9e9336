package node

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/routing"
)

// putAll puts count values from random nodes and checks that each says it is on
// all of the k nearest.
func (s *testNetwork) putAll(count int) map[routing.Key]string {
	s.t.Helper()
	values := make(map[routing.Key]string)
	for i := range count {
		key, value := routing.KeyOf(fmt.Sprintf("key %d", i)), fmt.Sprintf("value %d", i)
		stored, err := s.pick(0).Put(within(s.t, time.Minute), key, []byte(value), nil)
		if err != nil {
			s.t.Fatalf("put %d: %v", i, err)
		}
		if want := min(20, len(s.nodes)); stored.Count != want || stored.Of != want {
			s.t.Errorf("put %d: %v, want %d of %d", i, stored, want, want)
		}
		values[key] = value
	}
	return values
}

// getAll gets every value from a random node among those from first on.
func (s *testNetwork) getAll(first int, values map[routing.Key]string) {
	s.t.Helper()
	for key, want := range values {
		n := s.pick(first)
		start := time.Now()
		got, err := n.Get(within(s.t, time.Minute), key, nil)
		if err != nil || string(got.Data) != want {
			s.t.Errorf("get: %q, %v; want %q (after %v)", got.Data, err, want, time.Since(start))
		}
	}
}

// Fifty nodes put and get, and go on after fifteen of them have died silently. No value is lost.
func TestFiftyNodesAndThirtyPercentSilentDeaths(t *testing.T) {
	inSwarm(t, 50, simnet.Options{Delay: 50 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		values := s.putAll(25)
		s.getAll(0, values)
		s.wantTrueNearest(20)
		for i := range 15 {
			s.kill(i)
		}
		s.getAll(15, values)
	})
}

// Neither one packet of twenty lost nor a network in two halves loses values.
func TestFivePercentLossAndAPartitionThatHeals(t *testing.T) {
	inSwarm(t, 50, simnet.Options{Delay: 50 * time.Millisecond, Seed: 7}, func(t *testing.T, s *testNetwork) {
		s.net.SetLoss(0.05)
		values := s.putAll(20)
		s.getAll(0, values)
		s.net.SetLoss(0)

		far := s.nodes[25:]
		s.net.Partition(hosts(0, 25), hosts(25, 50))
		time.Sleep(3 * time.Minute)
		// Each half goes on alone: a value that is put there is found there.
		key := routing.KeyOf("put while apart")
		if _, err := far[3].Put(within(t, time.Minute), key, []byte("far"), nil); err != nil {
			t.Fatalf("put in one half: %v", err)
		}
		if got, err := far[9].Get(within(t, time.Minute), key, nil); err != nil || string(got.Data) != "far" {
			t.Fatalf("get in the same half: %q, %v", got.Data, err)
		}
		s.net.Heal()
		time.Sleep(10 * time.Minute)
		s.getAll(0, values)
		if got, err := s.nodes[2].Get(within(t, time.Minute), key, nil); err != nil || string(got.Data) != "far" {
			t.Errorf("get in the other half, once healed: %q, %v", got.Data, err)
		}
	})
}

// wantTrueNearest checks that lookups find the k nearest of all the nodes.
func (s *testNetwork) wantTrueNearest(lookups int) {
	s.t.Helper()
	for i := range lookups {
		target := routing.KeyOf(fmt.Sprint(i))
		got, err := s.pick(0).Nearest(within(s.t, time.Minute), target)
		if err != nil {
			s.t.Fatal(err)
		}
		var keys, want []routing.Key
		for _, c := range got {
			keys = append(keys, c.Key())
		}
		for _, n := range s.nodes {
			want = append(want, n.Key())
		}
		slices.SortFunc(want, target.CompareDistance)
		if !slices.Equal(keys, want[:20]) {
			s.t.Errorf("lookup %d found\n%v\nwant\n%v", i, keys, want[:20])
		}
	}
}

func hosts(from, to int) (all []netip.AddrPort) {
	for i := from; i < to; i++ {
		all = append(all, host(i))
	}
	return all
}
