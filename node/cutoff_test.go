package node

import (
	"errors"
	"strings"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// A node whose bootstrap peers are silent does not claim to have stored a value in their
// network, says what may be the matter, and publishes the value once it has joined.
func TestPutOfANodeThatIsCutOff(t *testing.T) {
	inSwarm(t, 3, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		s.net.Partition(hosts(3, 4))
		n := s.make(Config{})
		err := n.Start(within(t, time.Minute))
		if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "lets no UDP through") {
			t.Errorf("start: %v", err)
		}
		key := routing.KeyOf("put while cut off")
		stored, err := n.Put(within(t, time.Minute), key, []byte("x"), nil)
		failed, ok := errors.AsType[*PutError](err)
		if !ok || failed.CutOff == nil || !errors.Is(err, ErrUnreachable) || errors.Is(err, ErrQuorum) || stored.Count != 1 {
			t.Errorf("put: %v, %v", stored, err)
		} else if text := err.Error(); !strings.Contains(text, "this node only") || !strings.Contains(text, "lets no UDP through") {
			t.Errorf("put: %q", text)
		}
		if _, err := n.Get(within(t, time.Minute), routing.KeyOf("elsewhere"), nil); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "lets no UDP through") {
			t.Errorf("get: %v", err)
		}
		if why := n.Reachability().Why; !strings.Contains(why, "not connected") {
			t.Errorf("why: %q", why)
		}
		s.net.Heal()
		await(t, 2*time.Minute, "published", func() bool {
			v, err := s.nodes[1].Get(within(t, time.Minute), key, nil)
			return err == nil && string(v.Data) == "x"
		})
		s.put(n, routing.KeyOf("put once joined"), "y", PutOptions{})
	})
}

// A put right after the start waits for the join.
func TestPutWaitsForTheJoin(t *testing.T) {
	inSwarm(t, 3, simnet.Options{Delay: 200 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		n := s.make(Config{})
		go n.Start(t.Context())
		time.Sleep(100 * time.Millisecond)
		if stored := s.put(n, routing.KeyOf("at once"), "x", PutOptions{}); stored.Count < 2 {
			t.Errorf("%v", stored)
		}
	})
}

// The first node of a network stores a record alone, because it knows no other peers. It does not
// wait for its own address in a bootstrap list that is the same for all nodes.
func TestPutOfTheFirstNode(t *testing.T) {
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		first := s.nodes[0]
		if err := first.Bootstrap(within(t, time.Minute), s.addrs(0)...); err != nil {
			t.Fatal(err)
		}
		if stored := s.put(first, routing.KeyOf("x"), "y", PutOptions{}); stored.Count != 1 || stored.Of != 1 {
			t.Errorf("%v", stored)
		}
	})
}

// The error says that UDP seems to be blocked only after silence. If a machine answers that the
// port is closed, or with another key, UDP works.
func TestBootstrapErrorOfSilence(t *testing.T) {
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		n := s.make(Config{Bootstrap: []ma.Multiaddr{wire.JoinPeer(wire.AddrFrom(host(0)), idOf(testKey(9)))}})
		err := n.Start(within(t, time.Minute))
		if !errors.Is(err, ErrWrongPeer) || strings.Contains(err.Error(), "UDP") {
			t.Errorf("another key: %v", err)
		}
	})
}
