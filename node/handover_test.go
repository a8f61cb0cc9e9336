package node

import (
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// wantHeldByNearest checks that each of the k nearest of the living holds every
// record.
func (s *testNetwork) wantHeldByNearest(keys []routing.Key, k int, when string) {
	s.t.Helper()
	missing := 0
	for _, key := range keys {
		for n := range s.trueNearest(key, k) {
			if h, ok := heldAt(n, wire.KindContent, key); !ok || h.Cached {
				missing++
			}
		}
	}
	if missing > 0 {
		s.t.Errorf("%s: %d of %d copies are missing", when, missing, len(keys)*k)
	}
}

// "When a node learns of a new node which is closer to some of its pairs, it
// replicates these pairs to the new node" (Kademlia §2.5), in seconds.
func TestANewcomerIsHandedItsRecords(t *testing.T) {
	inSwarm(t, 0, simnet.Options{Delay: 20 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		s.addMany(14, 5)
		keys := s.putContent("inheritance ", 60, 24*time.Hour)
		for range 3 {
			newcomer := s.add(Config{K: 5})
			time.Sleep(8 * time.Second)
			s.wantHeldByNearest(keys, 5, "8 s after a join")
			st := newcomer.Stats()
			if st.Served.Store > 8 {
				t.Errorf("%d STOREs brought %d records", st.Served.Store, st.Records)
			}
		}
	})
}

// A holder that was cut off gets the records that it has missed as soon as it answers again.
func TestReturningHolderCatchesUp(t *testing.T) {
	inSwarm(t, 0, simnet.Options{Delay: 20 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		s.addMany(8, 8)
		s.net.Partition(hosts(3, 4))
		time.Sleep(3 * time.Minute)
		var keys []routing.Key
		for i, n := range append(s.nodes[:3:3], s.nodes[4:]...) { // each finds out that it is gone
			keys = append(keys, s.put(n, routing.Key{}, string(rune('a'+i)), PutOptions{Kind: wire.KindContent}).Key)
		}
		s.net.Heal()
		time.Sleep(6 * time.Minute)
		s.wantHeldByNearest(keys, 8, "6 minutes after the wire was mended")
	})
}

// Holders of three records, of which each has four, die without a word, one every 20
// minutes, and others come: the records live on. Nine die, twenty with -life.long.
func TestHoldersDieOneAfterTheOther(t *testing.T) {
	inSwarm(t, 0, simnet.Options{Delay: 20 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		s.addMany(10, 4)
		keys := s.putContent("phoenix ", 3, 24*time.Hour)
		for death := range longOr(20, 9) {
			for n := range s.trueNearest(keys[death%3], 4) { // any holder
				if n != s.nodes[0] {
					n.Kill()
					break
				}
			}
			time.Sleep(10 * time.Minute)
			s.add(Config{K: 4})
			time.Sleep(10 * time.Minute)
			for _, key := range keys {
				if len(s.whoHolds(wire.KindContent, key)) == 0 {
					t.Fatalf("after %d deaths a record is lost", death+1)
				}
			}
		}
		for i, key := range keys {
			v, err := s.pickAlive().Get(within(t, time.Minute), key, &GetOptions{Kind: wire.KindContent})
			if err != nil {
				t.Errorf("record %d: %q, %v", i, v.Data, err)
			}
		}
	})
}

func (s *testNetwork) pickAlive() *Node {
	alive := s.alive()
	return alive[s.rand.IntN(len(alive))]
}

// A peer that comes and goes is not handed everything each time.
func TestFlappingPeerIsHandedLittle(t *testing.T) {
	inSwarm(t, 1, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		n := s.nodes[0]
		for _, r := range contents(t, 50, 10) {
			if err := n.storeLocal(r); err != nil {
				t.Fatal(err)
			}
		}
		x := s.stranger(0)
		answer := func(_ wire.PeerID, m wire.Message) wire.Message {
			switch m := m.(type) {
			case wire.Offer:
				w := wire.NewWanted(len(m.Records))
				for i := range m.Records {
					w.Set(i)
				}
				return w
			case wire.Store:
				return wire.Stored{Results: make([]wire.Code, len(m.Records))}
			case wire.FindNode:
				return wire.Nodes{}
			}
			return wire.Pong{}
		}
		for range 20 {
			k := x.join(n, answer)
			time.Sleep(8 * time.Second)
			k.conn.Close(wire.CloseLeaving, "")
			time.Sleep(time.Second)
		}
		if sent := n.Stats().HandedOver; sent < 50 || sent > 5*51 {
			t.Errorf("20 joins in 3 minutes were handed %d records, want some 50 a minute", sent)
		}
	})
}

// A node that is told not to, does not.
func TestNoRepublishing(t *testing.T) {
	inSwarm(t, 0, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		s.addNegligent(4)
		s.putContent("forgotten ", 10, 24*time.Hour)
		s.addNegligent(1)
		time.Sleep(3 * time.Hour)
		for i, n := range s.nodes {
			if st := n.Stats(); st.Republished+st.HandedOver+st.Sent.Offer > 0 {
				t.Errorf("node %d: %+v", i, st)
			}
		}
	})
}
