package node

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/internal/store"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// The long form of TestRecordsOutliveTheirHolders takes minutes:
//
//	go test ./node -run OutliveTheirHolders -life.long -v
var lifeLong = flag.Bool("life.long", false, "long forms: forty nodes for two hours, with sessions of ten minutes and of an hour, and twenty dead holders, ten hours with a liar, a relay under abuse for longer")

// longOr returns long with -life.long, else short.
func longOr(long, short int) int {
	if *lifeLong {
		return long
	}
	return short
}

// alive returns the nodes that have not been killed or closed.
func (s *testNetwork) alive() (nodes []*Node) {
	for _, n := range s.nodes {
		if n.running() == nil {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// whoHolds returns the living nodes that hold a record of that kind under key, cached
// copies apart.
func (s *testNetwork) whoHolds(kind wire.Kind, key routing.Key) (held []*Node) {
	for _, n := range s.alive() {
		for h := range n.values.All(time.Now()) {
			if h.Key == key && h.Kind == kind && !h.Cached {
				held = append(held, n)
			}
		}
	}
	return held
}

// trueNearest returns the k living servers nearest to key.
func (s *testNetwork) trueNearest(key routing.Key, k int) map[*Node]bool {
	near := make(map[*Node]bool)
	for range k {
		var best *Node
		for _, n := range s.alive() {
			if !near[n] && n.mode() == wire.ModeServer && (best == nil || key.CompareDistance(n.key, best.key) < 0) {
				best = n
			}
		}
		if best != nil {
			near[best] = true
		}
	}
	return near
}

// A churn is a network whose nodes come and go, and what became of the records
// in it.
type churn struct {
	nodes, k, records int
	gets              int           // after each death
	session           time.Duration // mean; exponential
	lasts             time.Duration
	seed              uint64
}

type fate struct {
	lost, right, gets int
	fewest            int     // holders any record had at any look
	near              float64 // share of the true k nearest that hold a record, at the end
	sent              Requests
	republished       int64
	handedOver        int64
	bytes             uint64
	deaths            int
}

func (c churn) run(t *testing.T) {
	inSwarm(t, 0, simnet.Options{Delay: 20 * time.Millisecond, Seed: c.seed}, func(t *testing.T, s *testNetwork) {
		rng := rand.New(rand.NewPCG(c.seed, 2))
		for range c.nodes {
			s.add(Config{K: c.k})
		}
		var keys []routing.Key
		for i := range c.records {
			stored := s.put(s.nodes[i%c.nodes], routing.Key{}, fmt.Sprint("value ", i), PutOptions{Kind: wire.KindContent, TTL: 24 * time.Hour})
			keys = append(keys, stored.Key)
		}
		f := fate{fewest: c.nodes}
		before := s.net.Stats().SentBytes
		tally := func(n *Node) {
			st := n.Stats()
			f.sent.Ping += st.Sent.Ping
			f.sent.FindNode += st.Sent.FindNode
			f.sent.FindValue += st.Sent.FindValue
			f.sent.Store += st.Sent.Store
			f.sent.Offer += st.Sent.Offer
			f.republished += st.Republished
			f.handedOver += st.HandedOver
		}
		lost := make(map[routing.Key]bool)
		for start := time.Now(); time.Since(start) < c.lasts; {
			time.Sleep(time.Duration(rng.ExpFloat64() * float64(c.session) / float64(c.nodes)))
			alive := s.alive()
			victim := alive[1+rng.IntN(len(alive)-1)] // the first stays: others join through it
			tally(victim)
			victim.Kill()
			f.deaths++
			s.add(Config{K: c.k})
			alive = s.alive()
			for range c.gets {
				i := rng.IntN(len(keys))
				f.gets++
				v, err := alive[rng.IntN(len(alive))].Get(within(t, time.Minute), keys[i], &GetOptions{Kind: wire.KindContent})
				if err == nil && string(v.Data) == fmt.Sprint("value ", i) {
					f.right++
				}
			}
			for _, key := range keys {
				n := len(s.whoHolds(wire.KindContent, key))
				if n == 0 && !lost[key] {
					lost[key] = true
					f.lost++
				}
				f.fewest = min(f.fewest, n)
			}
		}
		share := 0.0
		for _, key := range keys {
			near := s.trueNearest(key, c.k)
			for _, n := range s.whoHolds(wire.KindContent, key) {
				if near[n] {
					share++
				}
			}
		}
		f.near = share / float64(len(keys)*c.k)
		for _, n := range s.alive() {
			tally(n)
		}
		f.bytes = s.net.Stats().SentBytes - before
		hours := c.lasts.Hours() * float64(c.records)
		t.Logf("%d nodes, k %d, sessions of %v, %v: %d deaths; %d records lost, %d of %d gets right, at least %d holders, %.3f of the k nearest hold at the end",
			c.nodes, c.k, c.session, c.lasts, f.deaths, f.lost, f.right, f.gets, f.fewest, f.near)
		t.Logf("a record and hour: %.2f republished, %.2f handed over, %.1f OFFER, %.1f STORE, %.1f FIND, %.1f PING; %.0f bytes of packets",
			float64(f.republished)/hours, float64(f.handedOver)/hours, float64(f.sent.Offer)/hours, float64(f.sent.Store)/hours,
			float64(f.sent.FindNode+f.sent.FindValue)/hours, float64(f.sent.Ping)/hours, float64(f.bytes)/hours)
		if f.lost > 0 {
			t.Errorf("%d records were lost", f.lost)
		}
		if wrong := f.gets - f.right; wrong*1000 > f.gets {
			t.Errorf("%d of %d gets failed", wrong, f.gets)
		}
	})
}

// Nodes die silently and others replace them, for several generations: all records survive and are
// found.
func TestRecordsOutliveTheirHolders(t *testing.T) {
	churn{nodes: 16, k: 6, records: 30, gets: 4, session: 20 * time.Minute, lasts: 40 * time.Minute, seed: 1}.run(t)
}

func TestRecordsOutliveTheirHoldersLong(t *testing.T) {
	if !*lifeLong {
		t.Skip("takes minutes: -life.long")
	}
	for _, session := range []time.Duration{10 * time.Minute, time.Hour} {
		t.Run(session.String(), func(t *testing.T) {
			churn{nodes: 40, k: 20, records: 200, gets: 20, session: session, lasts: 2 * time.Hour, seed: 1}.run(t)
		})
	}
}

// heldAt returns what n holds under key.
func heldAt(n *Node, kind wire.Kind, key routing.Key) (store.Held, bool) {
	for h := range n.values.All(time.Now()) {
		if h.Key == key && h.Kind == kind {
			return h, true
		}
	}
	return store.Held{}, false
}
