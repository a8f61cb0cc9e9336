package node

import (
	"context"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/wire"
)

// Where the relays of a peer are dead the connection that there is does, without a call
// at each Dial.
func TestDeadRelaysAreRemembered(t *testing.T) {
	const rtt = 40 * time.Millisecond
	inSwarm(t, 2, simnet.Options{Delay: rtt / 2}, func(t *testing.T, s *swarm) {
		var log pathLog
		bob := s.nodes[1]
		alice := s.add(Config{Mode: ModeClient, Trace: log.trace()})
		echoes(t, bob)
		if _, err := alice.Ping(t.Context(), bob.ID()); err != nil {
			t.Fatal(err)
		}
		dead := wire.Circuit{Addr: wire.AddrFrom(host(77)), Relay: idOf(testKey(77)), Peer: bob.ID()}
		if _, err := alice.Learn(dead.Multiaddr()); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for _, c := range []struct {
			at     time.Duration
			called bool
		}{{0, true}, {2 * time.Second, false}, {29 * time.Second, false}, {35 * time.Second, true}, {90 * time.Second, false}, {100 * time.Second, true}} {
			time.Sleep(time.Until(began.Add(c.at)))
			log.mu.Lock()
			before := len(log.calls)
			log.mu.Unlock()
			start := time.Now()
			conn, err := alice.Dial(t.Context(), bob.ID(), echoTest)
			if err != nil {
				t.Fatal(err)
			}
			took := time.Since(start)
			said(t, conn, "hello")
			defer conn.Close() // lest the connection end
			log.mu.Lock()
			calls := log.calls[before:]
			log.mu.Unlock()
			if called := len(calls) > 0; called != c.called || !called && took > rtt || took > betterFor+rtt {
				t.Errorf("dialled after %v, in %v, with calls %v; want calls: %v", c.at, took, calls, c.called)
			}
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		alice.Dial(gone, bob.ID(), echoTest)
		if b := alice.agents.betters.of[bob.ID()]; b.busy || b.failures != 3 {
			t.Errorf("after a dial that was given up: %+v", b)
		}
	})
}

// A peer is called again at once by a relay that is new; and there is a bound to what
// is remembered.
func TestBetters(t *testing.T) {
	var bs betters
	now := time.Now()
	id, other := wire.PeerID{1}, wire.PeerID{2}
	one, two := []wire.PeerID{{3}}, []wire.PeerID{{3}, {4}}
	if !bs.begin(id, one, now) || bs.begin(id, two, now) || !bs.begin(other, one, now) {
		t.Error("one call at a time to each")
	}
	bs.failed(id, one, now)
	if bs.begin(id, one, now.Add(worseFor-1)) || !bs.begin(id, two, now) {
		t.Error("after a failure a relay must be new")
	}
	bs.failed(id, nil, now) // given up
	if bs.begin(id, one, now) || !bs.begin(id, one, now.Add(worseFor)) {
		t.Error("a call that was given up is no failure")
	}
	bs.done(id)
	if _, left := bs.of[id]; left || !bs.begin(id, one, now) {
		t.Error("a success is remembered as a failure")
	}
	for range 20 {
		bs.failed(id, one, now)
	}
	if got := bs.of[id].at.Sub(now); got != maxWorseFor {
		t.Errorf("after many failures, wait %v", got)
	}
	for i := range 2 * maxBetters {
		peer := wire.PeerID{5, byte(i), byte(i >> 8)}
		if bs.begin(peer, one, now) {
			bs.failed(peer, one, now)
		}
	}
	if len(bs.of) != maxBetters || !bs.begin(wire.PeerID{6}, one, now.Add(maxWorseFor)) || len(bs.of) > 3 {
		t.Errorf("%d peers are remembered", len(bs.of))
	}
}
