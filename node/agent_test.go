package node

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/kadquic/kadquic/internal/punch"
	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/wire"
)

// What an agent has done is done, though it has ended meanwhile.
func TestWhatAAgentWasToldItHasDone(t *testing.T) {
	for range 1000 {
		g := &agent{do: make(chan func(time.Time), 1), ended: make(chan struct{})}
		go func() {
			f := <-g.do
			f(time.Now())
			close(g.ended)
		}()
		did := false
		if !g.tell(func(time.Time) { did = true }) || !did {
			t.Fatal("it is said not to have been done")
		}
	}
}

// An attempt that is given up twice, since there were too many and since the call has
// failed, leaves the others that wait for an answer alone.
func TestAnAttemptEndsOnce(t *testing.T) {
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *swarm) {
		n, id := s.nodes[0], wire.PeerID{1}
		now := time.Now()
		attempts := make([]*attempt, maxAttempts+1)
		err := n.tellAgent(id, wire.PeerID{}, func(g *agent, _ time.Time) {
			for i := range attempts {
				call, err := punch.NewCaller(punch.Config{Caller: [32]byte{byte(i)}, Rand: randomUint64}, now, now, nil)
				if err != nil {
					t.Error(err)
					return
				}
				attempts[i] = &attempt{s: call, began: now}
				g.add(attempts[i])
			}
			g.drop(attempts[0]) // it was, for the sake of the last
			if got := n.agents.keyless[g]; got != maxAttempts || len(g.attempts) != maxAttempts {
				t.Errorf("%d of %d attempts wait for an answer, want %d", got, len(g.attempts), maxAttempts)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// Strangers who call leave room for those whom the node calls itself, and those who call
// through one relay for those who call through another.
func TestCallersLeaveRoom(t *testing.T) {
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *swarm) {
		n := s.nodes[0]
		peer := func(i int) wire.PeerID { return wire.PeerID{1, byte(i), byte(i >> 8)} }
		relay := func(i int) wire.PeerID { return wire.PeerID{2, byte(i)} }
		calls := 0
		for r := range wantRelays {
			for range maxUnproved {
				if !n.agents.hasRoomFor(peer(calls), relay(r)) {
					t.Fatalf("no room for caller %d", calls)
				}
				if _, err := n.agent(peer(calls), relay(r)); err != nil {
					t.Fatal(err)
				}
				calls++
			}
			if n.agents.hasRoomFor(peer(calls), relay(r)) {
				t.Errorf("relay %d passes on more calls than its share", r)
			}
		}
		if n.agents.hasRoomFor(peer(calls), relay(9)) || !n.agents.hasRoomFor(peer(0), relay(0)) {
			t.Error("room for another stranger, or none for one who is known")
		}
		if _, err := n.agent(peer(calls), wire.PeerID{}); err != nil {
			t.Errorf("a call of our own: %v", err)
		}
		time.Sleep(2 * lingering)
		synctest.Wait()
		if left := len(n.agents.of); left > 0 {
			t.Errorf("%d agents are left", left)
		}
	})
}

// A user who takes time to read of a path holds up no packet.
func TestATraceOfPathsHoldsUpNoPackets(t *testing.T) {
	inSwarm(t, 4, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *swarm) {
		read := make(chan struct{})
		bob := s.add(Config{Mode: ModeClient})
		alice := s.add(Config{Mode: ModeClient, Trace: &Trace{Path: func(PathEvent) { <-read }}})
		defer close(read)
		echoes(t, bob)
		awaitThat(t, "bob has places at relays", func() bool { return len(bob.Relays()) == wantRelays })
		if _, err := alice.Learn(bob.circuits()[0]); err != nil {
			t.Fatal(err)
		}
		c, err := alice.Dial(within(t, time.Minute), bob.ID(), echoTest)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		said(t, c, "hello")
		time.Sleep(5 * time.Second)
		said(t, c, "still there")
		if _, err := alice.Ping(within(t, time.Minute), s.nodes[0].ID()); err != nil {
			t.Error(err)
		}
	})
}
