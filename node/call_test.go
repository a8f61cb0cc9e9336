package node

import (
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/wire"
)

const echoTest = "/test/echo/1"

// echoes has a node echo what comes by streams of the protocol.
func echoes(t *testing.T, n *Node) {
	t.Helper()
	ln, err := n.Listen(echoTest)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.Copy(c, c)
			}()
		}
	}()
}

// said sends a word over a stream and waits until it comes back.
func said(t *testing.T, c net.Conn, word string) {
	t.Helper()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, word); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, len(word))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != word {
		t.Fatalf("%q comes back as %q, %v", word, b, err)
	}
}

// learns tells a node by which relays another is reached.
func learns(t *testing.T, n, of *Node) {
	t.Helper()
	for _, a := range of.circuits() {
		if _, err := n.AddAddr(a); err != nil {
			t.Fatal(err)
		}
	}
}

// awaitThat waits until something is so.
func awaitThat(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Minute); !so(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 5 minutes", what)
		}
	}
}

// A pathLog keeps what a Trace says of paths and calls.
type pathLog struct {
	mu    sync.Mutex
	paths []PathEvent
	calls []CallEvent
}

func (l *pathLog) trace() *Trace {
	return &Trace{
		Path: func(e PathEvent) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.paths = append(l.paths, e)
		},
		Call: func(e CallEvent) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.calls = append(l.calls, e)
		},
	}
}

// A call connects through the relay within two round trips and moves to a direct path. The virtual
// address is told to no peer.
func TestCall(t *testing.T) {
	inSwarm(t, 4, simnet.Options{Delay: 40 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		var log pathLog
		bob := s.add(Config{Mode: ModeClient})
		alice := s.add(Config{Mode: ModeClient, Trace: log.trace()})
		echoes(t, bob)
		awaitThat(t, "bob has reservations", func() bool { return len(bob.Relays()) == wantRelays })
		learns(t, alice, bob)
		awaitThat(t, "alice is connected to bob's relay", func() bool {
			_, err := alice.Ping(t.Context(), bob.Relays()[0].ID)
			return err == nil
		})
		const rtt = 80 * time.Millisecond
		start := time.Now()
		c, err := alice.Dial(t.Context(), bob.ID(), echoTest)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		connected := time.Since(start)
		said(t, c, "hello")
		t.Logf("connected after %v, answered after %v, %v", connected, time.Since(start), c.Path())
		if connected > 2*rtt+20*time.Millisecond {
			t.Errorf("connected after %v, want two round trips", connected)
		}
		awaitThat(t, "the path is straight", func() bool {
			at, _ := alice.Conn(bob.ID())
			a := at.Path
			bt, _ := bob.Conn(alice.ID())
			b := bt.Path
			return a.Kind == PathPunched && b.Kind == PathPunched
		})
		said(t, c, "straight on")
		if got, want := c.Path(), (Path{Kind: PathPunched, Addr: wire.AddrFrom(host(4))}); got != want {
			t.Errorf("path %v, want %v", got, want)
		}
		log.mu.Lock()
		defer log.mu.Unlock()
		for _, e := range log.calls {
			t.Log(e)
		}
		if len(log.paths) != 2 || log.paths[0].Path.Kind != PathRelayed || log.paths[1].Path.Kind != PathPunched {
			t.Errorf("paths told: %v", log.paths)
		}
		for _, n := range s.nodes {
			for _, p := range []*Node{alice, bob} {
				for _, a := range n.peers.AppendAddrs(nil, p.ID(), time.Now()) {
					if ap, ok := a.AddrPort(); !ok || ap != host(4) && ap != host(5) {
						t.Errorf("%v is known at %v", p.ID(), a)
					}
				}
			}
		}
		for _, l := range append(alice.links.all(), bob.links.all()...) {
			if l.conn.Virtual() && (l.hello.Observed != "" || l.at != "" || l.IsServer()) {
				t.Errorf("a peer that was called is told %q, and known at %q", l.hello.Observed, l.at)
			}
		}
	})
}

// For an ICE restart the callee calls back through the relay of the call. The caller has no
// reservation there, so the call fails, which does not disturb the relayed packets.
func TestCalledBackWithoutAPlace(t *testing.T) {
	inSwarm(t, 4, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		bob := s.add(Config{Mode: ModeClient})
		alice := s.add(Config{Mode: ModeClient})
		echoes(t, bob)
		awaitThat(t, "bob has reservations", func() bool { return len(bob.Relays()) == wantRelays })
		if _, err := alice.AddAddr(bob.circuits()[0]); err != nil {
			t.Fatal(err)
		}
		c, err := alice.Dial(t.Context(), bob.ID(), echoTest)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		said(t, c, "hello")
		relay, ok := bob.relays.Route(alice.ID())
		if !ok {
			t.Fatal("bob knows no relay to alice, who called")
		}
		if err := bob.sessions.Call(t.Context(), alice.ID(), relay, func() {}); !errors.Is(err, wire.CodeUnreachable) {
			t.Fatalf("bob calls back: %v", err)
		}
		if still, _ := bob.relays.Route(alice.ID()); still != relay {
			t.Errorf("what goes to alice goes by %v, want %v", still, relay)
		}
	})
}

// Of the relays that a peer has named two have died since.
func TestCallByTheLastRelay(t *testing.T) {
	inSwarm(t, 6, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		bob := s.add(Config{Mode: ModeClient})
		alice := s.add(Config{Mode: ModeClient})
		echoes(t, bob)
		awaitThat(t, "bob has reservations", func() bool { return len(bob.Relays()) == wantRelays })
		learns(t, alice, bob)
		relays := alice.relays.RelaysOf(bob.ID())
		for i, n := range s.nodes {
			if slices.Contains(relays[:2], n.ID()) {
				s.kill(i)
			}
		}
		start := time.Now()
		c, err := alice.Dial(t.Context(), bob.ID(), echoTest)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("connected after %v", took)
		}
		said(t, c, "hello")
	})
}

// While a peer is being dialled at a dead address, the user adds its relay. The dial uses the relay
// at once.
func TestATicketIsUsedAtOnce(t *testing.T) {
	inSwarm(t, 4, simnet.Options{Delay: 40 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		bob, alice := s.add(Config{Mode: ModeClient}), s.add(Config{Mode: ModeClient})
		echoes(t, bob)
		awaitThat(t, "bob has a reservation", func() bool { return len(bob.Relays()) > 0 })
		if _, err := alice.AddAddr(wire.JoinPeer(wire.AddrFrom(host(77)), bob.ID())); err != nil {
			t.Fatal(err)
		}
		pinged := make(chan struct{})
		go func() {
			defer close(pinged)
			alice.Ping(t.Context(), bob.ID())
		}()
		time.Sleep(500 * time.Millisecond) // of virtual time: the dial is under way
		start := time.Now()
		learns(t, alice, bob)
		c, err := alice.Dial(t.Context(), bob.ID(), echoTest)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		said(t, c, "hello")
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("answered after %v", took)
		}
		<-pinged
	})
}

// A peer is called by a relay to which there is a connection, if there is one,
// whichever the user told of first.
func TestARelayAtHandIsTakenFirst(t *testing.T) {
	inSwarm(t, 4, simnet.Options{Delay: 40 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		var log pathLog
		bob, alice := s.add(Config{Mode: ModeClient}), s.add(Config{Mode: ModeClient, Trace: log.trace()})
		echoes(t, bob)
		awaitThat(t, "bob has reservations", func() bool { return len(bob.Relays()) == wantRelays })
		near := func(id wire.PeerID) bool {
			_, ok := alice.pool.Lookup(publicKey(id))
			return ok
		}
		first := bob.Relays()[0]
		if _, err := alice.Connect(t.Context(), wire.JoinPeer(first.Addr, first.ID)); err != nil {
			t.Fatal(err)
		}
		far := slices.IndexFunc(bob.Relays(), func(r RelayInfo) bool { return !near(r.ID) })
		if far < 0 {
			t.Fatal("alice is connected to all of bob's relays")
		}
		circuits := bob.circuits()
		for _, a := range append(circuits, circuits[far]) { // the latest counts most otherwise
			if _, err := alice.AddAddr(a); err != nil {
				t.Fatal(err)
			}
		}
		c, err := alice.Dial(t.Context(), bob.ID(), echoTest)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		log.mu.Lock()
		defer log.mu.Unlock()
		if first := log.calls[0]; first.Relay == bob.Relays()[far].ID {
			t.Errorf("called by %v first, to which there was no connection", first.Relay)
		}
	})
}

// After the conversation has ended, nothing of a call is left.
func TestCallsLeaveNothing(t *testing.T) {
	inSwarm(t, 4, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		bob := s.add(Config{Mode: ModeClient})
		alice := s.add(Config{Mode: ModeClient})
		echoes(t, bob)
		awaitThat(t, "bob has reservations", func() bool { return len(bob.Relays()) == wantRelays })
		alice.AddAddr(bob.circuits()[0])
		c, err := alice.Dial(t.Context(), bob.ID(), echoTest)
		if err != nil {
			t.Fatal(err)
		}
		said(t, c, "hello")
		time.Sleep(10 * time.Minute)
		said(t, c, "still there")
		c.Close()
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		for _, n := range []*Node{alice, bob} {
			if left := n.sessions.Len(); left > 0 {
				t.Errorf("%d entries of sessions are left after a call", left)
			}
		}
	})
}
