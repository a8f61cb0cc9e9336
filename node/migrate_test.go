package node

import (
	"slices"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/wire"
)

// A second link to a relay takes over the reservation there. Calls are answered all the time,
// whichever link the relay uses, and when the first ends nothing is lost.
func TestReservationMigratesToANewLink(t *testing.T) {
	inSwarm(t, 4, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		bob := s.add(Config{Mode: ModeClient})
		echoes(t, bob)
		awaitThat(t, "bob has reservations", func() bool { return len(bob.Relays()) == wantRelays })
		time.Sleep(time.Minute)
		before := bob.Relays()
		relay := before[0].ID
		i := slices.IndexFunc(s.nodes, func(n *Node) bool { return n.ID() == relay })
		first, _ := bob.pool.Lookup(publicKey(relay))
		c, err := bob.transports[0].Dial(t.Context(), host(i), publicKey(relay))
		if err != nil {
			t.Fatal(err)
		}
		bob.pool.Add(c)
		l, err := bob.link(t.Context(), relay)
		if err != nil || l.conn != c {
			t.Fatalf("the new link is not the one in use: %v", err)
		}
		if _, err := bob.relays.Call(t.Context(), relay, s.nodes[0].ID(), []byte("x"), 0); err == nil { // the relay uses the new link now
			t.Fatal("a call to a peer without a reservation is answered")
		}
		call := func(when string) {
			t.Helper()
			alice := s.add(Config{Mode: ModeClient})
			at := wire.Circuit{Addr: wire.AddrFrom(host(i)), Relay: relay, Peer: bob.ID()}
			if _, err := alice.AddAddr(at.Multiaddr()); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			conn, err := alice.Dial(t.Context(), bob.ID(), echoTest)
			if err != nil {
				t.Fatalf("%s: %v", when, err)
			}
			defer conn.Close()
			said(t, conn, "hello")
			if took := time.Since(start); took > time.Second {
				t.Errorf("%s: answered after %v", when, took)
			}
		}
		call("at once")
		time.Sleep(10 * time.Second)
		if first.Err() == nil {
			t.Error("the first link is held still")
		}
		if !s.nodes[i].relay.Reserved(bob.ID(), time.Now()) {
			t.Error("the relay has no reservation")
		}
		call("when the first has ended")
		after := bob.Relays()
		if len(after) != wantRelays || after[0].ID != relay || !after[0].Since.Equal(before[0].Since) || !after[0].Expires.After(before[0].Expires) {
			t.Errorf("reservations %+v, were %+v", after, before)
		}
		time.Sleep(2 * time.Hour)
		if after := bob.Relays(); after[0].ID != relay || !after[0].Since.Equal(before[0].Since) {
			t.Errorf("reservations %+v, were %+v", after, before)
		}
	})
}
