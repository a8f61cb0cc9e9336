package node

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// putIf is a compare-and-set of an owned record of the node.
func putIf(ctx context.Context, n *Node, name, value []byte, seq uint64) (Stored, error) {
	return n.PutOwned(ctx, name, value, &PutOptions{IfSeq: &seq})
}

// putShared is a compare-and-set with the key that several writers share.
func putShared(ctx context.Context, n *Node, name, value string, seq uint64) (Stored, error) {
	return n.PutOwned(ctx, []byte(name), []byte(value), &PutOptions{IfSeq: &seq, Publisher: testKey(100)})
}

var owned = GetOptions{Kind: wire.KindOwned}

// A compare-and-set replaces the version it expects, and no other.
func TestCompareAndSet(t *testing.T) {
	inSwarm(t, 4, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		n, ctx := s.nodes[1], within(t, time.Minute)
		name := []byte("counter")
		_, err := putIf(ctx, n, name, []byte("1"), 17)
		var conflict *ConflictError
		if !errors.Is(err, ErrConflict) || !errors.As(err, &conflict) || conflict.Want != 17 || conflict.Seq != 0 {
			t.Errorf("in the place of one that is not there: %v", err)
		}
		stored, err := putIf(ctx, n, name, []byte("1"), 0)
		if err != nil || stored.Count != 4 || stored.Of != 4 {
			t.Fatalf("first: %v, %v", stored, err)
		}
		v, err := s.nodes[2].Get(ctx, stored.Key, &owned)
		if err != nil || string(v.Data) != "1" || string(v.Name) != "counter" {
			t.Fatalf("get: %+v, %v", v, err)
		}
		for _, wrong := range []uint64{0, 17, v.Seq - 1, v.Seq + 1} {
			if _, err := putIf(ctx, n, name, []byte("wrong"), wrong); !errors.As(err, &conflict) || conflict.Seq != v.Seq || conflict.Want != wrong {
				t.Errorf("expecting %d where %d stands: %v", wrong, v.Seq, err)
			}
		}
		if held := s.holders(wire.KindOwned, stored.Key, "wrong"); len(held) > 0 {
			t.Errorf("%v hold what was in conflict", held)
		}
		if _, err := putIf(ctx, n, name, []byte("2"), v.Seq); err != nil {
			t.Error(err)
		}
		s.wantGet(s.nodes[3], stored.Key, owned, "2")
		if p := only(t, n); p.Size != 1 || string(p.Name) != "counter" {
			t.Errorf("published: %+v", p)
		}
		if _, err := n.Put(ctx, routing.Key{}, nil, &PutOptions{IfSeq: new(uint64)}); err == nil {
			t.Error("a compare-and-set of an open record was accepted")
		}
	})
}

// A renewal is not a new version: a reader of the earlier one may replace it.
func TestCompareAndSetAfterARenewal(t *testing.T) {
	inSwarm(t, 2, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		n := s.add(Config{RecordTTL: time.Hour})
		key := s.put(n, routing.Key{}, "a", PutOptions{Kind: wire.KindOwned, Name: []byte("n")}).Key
		v, err := n.Get(within(t, time.Minute), key, &owned)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(59 * time.Minute)
		if _, err := putIf(within(t, time.Minute), n, []byte("n"), []byte("b"), v.Seq); err != nil {
			t.Error(err)
		}
	})
}

// Of two writers who race, from two nodes, exactly one wins, whoever begins and
// however far apart.
func TestCompareAndSetRace(t *testing.T) {
	inSwarm(t, 10, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		for _, n := range []*Node{s.add(Config{Mode: ModeClient}), s.add(Config{Mode: ModeClient})} {
			n.Ping(within(t, time.Minute), s.nodes[3].ID())
		}
		var seq uint64
		for round := range 60 {
			a, b := s.pick(0), s.pick(0)
			apart := time.Duration(s.rand.IntN(100)) * time.Millisecond
			var errs [2]error
			var wg sync.WaitGroup
			for i, n := range []*Node{a, b} {
				wg.Go(func() {
					time.Sleep(time.Duration(i) * apart)
					_, errs[i] = putShared(within(t, time.Minute), n, "n", fmt.Sprint(round, i), seq)
				})
			}
			wg.Wait()
			winner := 0
			if errs[0] != nil {
				winner = 1
			}
			if errs[winner] != nil || !errors.Is(errs[1-winner], ErrConflict) {
				t.Fatalf("round %d, %v apart: %v; %v", round, apart, errs[0], errs[1])
			}
			key := wire.OwnedKey(idOf(testKey(100)), []byte("n"))
			v, err := s.pick(0).Get(within(t, time.Minute), key, &owned)
			if want := fmt.Sprint(round, winner); err != nil || string(v.Data) != want {
				t.Fatalf("round %d: got %q, %v; want %q", round, v.Data, err, want)
			}
			seq = v.Seq
		}
	})
}

// Several who count in one record lose nothing: get, add, CompareAndSet, and from the
// start at ErrConflict.
func TestCompareAndSetCounter(t *testing.T) {
	inSwarm(t, 8, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		key := wire.OwnedKey(idOf(testKey(100)), []byte("n"))
		const writers, times = 4, 8
		var wg sync.WaitGroup
		for i := range writers {
			n := s.nodes[i]
			wg.Go(func() {
				ctx := within(t, time.Hour)
				for done := 0; done < times; {
					v, err := n.Get(ctx, key, &GetOptions{Kind: wire.KindOwned, Quorum: 99})
					if err != nil && !errors.Is(err, ErrNotFound) {
						t.Error(err)
						return
					}
					count, _ := strconv.Atoi(string(v.Data))
					_, err = putShared(ctx, n, "n", fmt.Sprint(count+1), v.Seq)
					switch {
					case err == nil:
						done++
					case errors.Is(err, ErrConflict):
						time.Sleep(time.Duration(i*37+done*11) * time.Millisecond)
					default:
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		s.wantGet(s.nodes[7], key, GetOptions{Kind: wire.KindOwned, Quorum: 99}, fmt.Sprint(writers*times))
	})
}

// The nearest node is the arbiter though it has only just come, and has nothing:
// it is brought up to date first.
func TestCompareAndSetWithANewArbiter(t *testing.T) {
	inSwarm(t, 4, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		stored, err := putShared(within(t, time.Minute), s.nodes[0], "n", "a", 0)
		if err != nil {
			t.Fatal(err)
		}
		v, _ := s.nodes[0].Get(within(t, time.Minute), stored.Key, &owned)
		i := 200 // an identity nearer to the key than any
		for nearer := func() bool {
			for _, n := range s.nodes {
				if stored.Key.CompareDistance(idOf(testKey(i)).Key(), n.Key()) >= 0 {
					return false
				}
			}
			return true
		}; !nearer(); i++ {
		}
		arbiter := s.add(Config{Key: testKey(i)})
		if _, err := putShared(within(t, time.Minute), s.nodes[1], "n", "wrong", 0); !errors.Is(err, ErrConflict) {
			t.Errorf("expecting nothing: %v", err)
		}
		if _, err := putShared(within(t, time.Minute), s.nodes[1], "n", "b", v.Seq); err != nil {
			t.Error(err)
		}
		s.wantGet(arbiter, stored.Key, owned, "b")
	})
}

// An expired version is remembered, so that compare-and-set does not overlook it.
func TestCompareAndSetRemembersExpiredVersions(t *testing.T) {
	inSwarm(t, 3, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		n := s.nodes[1]
		key := s.put(n, routing.Key{}, "a", PutOptions{Kind: wire.KindOwned, Name: []byte("n"), TTL: time.Minute}).Key
		v, _ := n.Get(within(t, time.Minute), key, &owned)
		time.Sleep(2 * time.Minute)
		if _, err := putIf(within(t, time.Minute), n, []byte("n"), []byte("b"), 0); !errors.Is(err, ErrConflict) {
			t.Errorf("as if nothing had been there: %v", err)
		}
		if _, err := putIf(within(t, time.Minute), n, []byte("n"), []byte("b"), v.Seq); err != nil {
			t.Error(err)
		}
	})
}

// A rollback is refused also after the newer version has ended: whoever kept the
// older one, which lives on by its signature, cannot bring it back.
func TestRollbackIsRefusedAfterTheEnd(t *testing.T) {
	inSwarm(t, 3, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		n, name := s.nodes[1], []byte("n")
		put := PutOptions{Kind: wire.KindOwned, Name: name, TTL: 6 * time.Hour}
		key := s.put(n, routing.Key{}, "old", put).Key
		old := n.values.Get(time.Now(), wire.KindOwned, key, 1)[0]
		put.TTL = 10 * time.Minute
		s.put(n, key, "new", put)
		for _, after := range []time.Duration{time.Minute, 15 * time.Minute, 2 * time.Hour} {
			time.Sleep(after)
			if stored, err := s.nodes[2].publish(within(t, time.Minute), old, 0); stored.Count != 0 || !errors.Is(err, ErrQuorum) {
				t.Errorf("%v later the old version was taken: %v, %v", after, stored, err)
			}
		}
		if _, err := n.Get(within(t, time.Minute), key, &owned); !errors.Is(err, ErrNotFound) {
			t.Errorf("get: %v", err)
		}
	})
}

// A holder that is no more than a cache for the key leaves the decision to
// others, and keeps nothing.
func TestACacheDoesNotDecide(t *testing.T) {
	inSwarm(t, 0, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		for range 6 {
			s.add(Config{K: 2})
		}
		r := signed(t, 100, wire.Record{Kind: wire.KindOwned, Name: []byte("n"), Expiry: time.Now().Add(time.Hour)})
		far := s.nodes[0]
		for _, n := range s.nodes {
			if r.Record.Key.CompareDistance(n.Key(), far.Key()) > 0 {
				far = n
			}
		}
		peer := s.nodes[0]
		if far == peer {
			peer = s.nodes[1]
		}
		if err := peer.search.StoreAt(within(t, time.Minute), far.ID(), r, new(uint64)); !errors.Is(err, wire.CodeTooFar) || far.HasRecord(wire.KindOwned, r.Record.Key) {
			t.Errorf("the farthest answered: %v", err)
		}
	})
}
