package node

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/wire"
)

// A slow Trace.Path holds up no packets.
func TestSlowPathTraceDelaysNoPackets(t *testing.T) {
	inSwarm(t, 4, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		read := make(chan struct{})
		bob := s.add(Config{Mode: ModeClient})
		alice := s.add(Config{Mode: ModeClient, Trace: &Trace{Path: func(PathEvent) { <-read }}})
		defer close(read)
		echoes(t, bob)
		awaitThat(t, "bob has reservations", func() bool { return len(bob.Relays()) == wantRelays })
		if _, err := alice.AddAddr(bob.circuits()[0]); err != nil {
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

// A node refuses a valid call through a peer at which it has no reservation: only relays of
// its own choice may have it send probes.
func TestCallThroughAnUnknownRelayIsRefused(t *testing.T) {
	inSwarm(t, 1, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		bob, x := s.nodes[0], s.stranger(1)
		k := x.meet(bob)
		alice := testKey(77)
		from := idOf(alice)
		key, err := ecdh.X25519().GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		offer := wire.CandidateOffer{To: bob.ID(), Key: [32]byte(key.PublicKey().Bytes()), At: time.Now()}
		call := wire.Call{Peer: from, Passed: true, Offer: offer.Sign(alice), Padding: 100}
		k.refusedWith(call, wire.CodeUnreachable)
		if bob.sessions.Has(from) {
			t.Error("the call has begun a session")
		}
		c, _ := bob.pool.Lookup(publicKey(x.id))
		if _, err := bob.sessions.Answer(c.Value.(*link), call); err != nil { // it is valid: bob did not look at it
			t.Errorf("the same call, through a relay of the node's own: %v", err)
		}
	})
}

// The ordinary connection to a peer with relays may break at any time: a conversation uses
// one whose path can be restarted.
func TestConversationsUseARestartablePath(t *testing.T) {
	for _, delay := range []time.Duration{20 * time.Millisecond, 300 * time.Millisecond} {
		t.Run(delay.String(), func(t *testing.T) { usesRestartablePath(t, delay) })
	}
}

func usesRestartablePath(t *testing.T, delay time.Duration) {
	inSwarm(t, 4, simnet.Options{Delay: delay}, func(t *testing.T, s *testNetwork) {
		bob := s.add(Config{Mode: ModeClient})
		alice := s.add(Config{Mode: ModeClient})
		echoes(t, bob)
		awaitThat(t, "bob has reservations", func() bool { return len(bob.Relays()) == wantRelays })
		at := ma.StringCast("/ip4/" + host(4).Addr().String() + "/udp/4774/quic-v1/p2p/" + bob.ID().String())
		if _, err := alice.Connect(t.Context(), at); err != nil {
			t.Fatal(err)
		}
		if _, err := alice.AddAddr(bob.circuits()[0]); err != nil {
			t.Fatal(err)
		}
		c, err := alice.Dial(t.Context(), bob.ID(), echoTest)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		said(t, c, "hello")
		if !c.stream.Conn().Virtual() {
			t.Error("the stream uses the ordinary connection")
		}
	})
}

// If the relays of a peer are dead, the present connection is used, without a call at each
// Dial. A Dial that is given up says nothing of the relays.
func TestDeadRelaysAreRemembered(t *testing.T) {
	const rtt = 40 * time.Millisecond
	inSwarm(t, 2, simnet.Options{Delay: rtt / 2}, func(t *testing.T, s *testNetwork) {
		var log pathLog
		bob := s.nodes[1]
		alice := s.add(Config{Mode: ModeClient, Trace: log.trace()})
		echoes(t, bob)
		if _, err := alice.Ping(t.Context(), bob.ID()); err != nil {
			t.Fatal(err)
		}
		dead := wire.Circuit{Addr: wire.AddrFrom(host(77)), Relay: idOf(testKey(77)), Peer: bob.ID()}
		if _, err := alice.AddAddr(dead.Multiaddr()); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for _, c := range []struct {
			at     time.Duration
			called bool
		}{
			{0, true}, {2 * time.Second, false}, {29 * time.Second, false}, {35 * time.Second, true}, {90 * time.Second, false}, {100 * time.Second, true},
			{215 * time.Second, false}, {230 * time.Second, true},
		} {
			if c.at == 230*time.Second {
				time.Sleep(time.Until(began.Add(225 * time.Second)))
				gone, cancel := context.WithCancel(t.Context())
				time.AfterFunc(rtt/2, cancel)
				alice.Dial(gone, bob.ID(), echoTest)
			}
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
			defer conn.Close() // keep the connection
			log.mu.Lock()
			calls := log.calls[before:]
			log.mu.Unlock()
			if called := len(calls) > 0; called != c.called || !called && took > rtt || took > time.Second+rtt {
				t.Errorf("dialled after %v, in %v, with calls %v; want calls: %v", c.at, took, calls, c.called)
			}
		}
	})
}

// A client that came for one answer knows one server. Three observers are needed to find
// out its NAT's mapping: it learns of others.
func TestClientLearnsItsMapping(t *testing.T) {
	inSwarm(t, 5, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		alice := s.add(Config{Mode: ModeClient})
		time.Sleep(2 * time.Second)
		if m, _ := alice.self.Mapping(true, time.Now()); m != wire.MappingNone {
			t.Errorf("the mapping of a node without a NAT is %v", m)
		}
	})
}
