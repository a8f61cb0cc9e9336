package node

import (
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/internal/swarm"
	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

// unread fills the window of the connection that one node has to another by streams
// that the latter does not read.
func unread(t *testing.T, from, to *Node) (streams []net.Conn) {
	t.Helper()
	for range 4 {
		c, err := from.Dial(within(t, time.Minute), to.ID(), "/app/unread")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		go c.Write(make([]byte, 512<<10))
		streams = append(streams, c)
	}
	time.Sleep(time.Second)
	for _, n := range []*Node{from, to} {
		if slices.ContainsFunc(n.links.all(), func(l *link) bool { return l.conn.Retired() }) {
			t.Fatal("it is known already")
		}
	}
	return streams
}

// A peer that takes long to answer is not taken for one that streams keep from
// answering, though there are some: it is asked once, and by one connection.
func TestASlowAnswerIsWaitedFor(t *testing.T) {
	for name, records := range map[string]int{
		"short": 1,
		"long":  wire.MaxOffer, // no packet holds it
	} {
		t.Run(name, func(t *testing.T) {
			inSwarm(t, 1, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
				n, x := s.nodes[0], s.stranger(1)
				k := x.meet(n)
				var asked atomic.Int32
				go func() {
					var mu sync.Mutex
					out := wire.NewWriter(k.stream)
					answer := func(f wire.Frame) {
						mu.Lock()
						defer mu.Unlock()
						out.WriteFrame(f)
					}
					for {
						f, err := k.in.ReadFrame()
						if err != nil {
							return
						}
						switch f.Body.(type) {
						case wire.Ping:
							answer(wire.Frame{ID: f.ID, Body: wire.Pong{}})
						case wire.Offer:
							asked.Add(1)
							time.AfterFunc(4*time.Second, func() { answer(wire.Frame{ID: f.ID, Body: wire.Error{Code: wire.CodeFull}}) })
						}
					}
				}()
				l, err := n.link(within(t, time.Minute), x.id)
				if err != nil {
					t.Fatal(err)
				}
				c, err := n.Dial(within(t, time.Minute), x.id, "/app")
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				var m wire.Offer
				for range records {
					m.Records = append(m.Records, wire.Offered{Kind: wire.KindContent})
				}
				if _, _, err := n.request(within(t, time.Minute), x.id, m); !errors.Is(err, wire.CodeFull) {
					t.Errorf("the request: %v", err)
				}
				if got := asked.Load(); got != 1 || l.conn.Retired() {
					t.Errorf("asked %d times; the connection is retired: %t", got, l.conn.Retired())
				}
			})
		})
	}
}

// A call through a relay whose connection is blocked by streams uses another connection, and the
// streams go on.
func TestACallPassesUnreadStreams(t *testing.T) {
	inSwarm(t, 3, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		ln := s.listen(1, "/app/unread")
		alice, relay := s.nodes[0], s.nodes[1]
		streams := unread(t, alice, relay)
		if err := alice.sessions.Call(within(t, time.Minute), s.nodes[2].ID(), relay.ID(), func() {}); !errors.Is(err, wire.CodeUnreachable) { // the callee has no reservation there
			t.Errorf("the call: %v", err)
		}
		var wg sync.WaitGroup
		for range streams {
			c, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			wg.Go(func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(time.Minute))
				if _, err := io.ReadFull(c, make([]byte, 512<<10)); err != nil {
					t.Errorf("a stream to the relay: %v", err)
				}
			})
		}
		wg.Wait()
	})
}

// A call whose answer is blocked has arrived. It is repeated with a new offer, because a callee
// accepts an offer once.
func TestBlockedCallIsRepeated(t *testing.T) {
	inSwarm(t, 4, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		bob, alice := s.relayed(), s.add(Config{Mode: ModeClient})
		if _, err := alice.Listen("/app/unread"); err != nil {
			t.Fatal(err)
		}
		id := bob.Relays()[0].ID
		relay := s.nodes[slices.IndexFunc(s.nodes, func(n *Node) bool { return n.ID() == id })]
		if _, err := alice.reach(within(t, time.Minute), id); err != nil {
			t.Fatal(err)
		}
		unread(t, relay, alice)
		if err := alice.sessions.Call(within(t, time.Minute), bob.ID(), id, func() {}); err != nil {
			t.Error(err)
		}
		if !slices.ContainsFunc(alice.links.all(), func(l *link) bool { return l.id == id && l.conn.Retired() }) {
			t.Error("no connection was stuck")
		}
	})
}

// A reservation at a relay whose connection is blocked by streams is kept by another connection.
func TestAPlacePassesUnreadStreams(t *testing.T) {
	inSwarm(t, 4, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		for i := range s.nodes {
			s.listen(i, "/app/unread")
		}
		bob := s.relayed()
		before := bob.Relays()
		for _, n := range s.nodes {
			if n.ID() == before[0].ID {
				unread(t, bob, n)
			}
		}
		time.Sleep(time.Minute)
		after := bob.Relays()
		if len(after) != wantRelays || after[0].ID != before[0].ID || !after[0].Since.Equal(before[0].Since) {
			t.Errorf("reservations %+v, were %+v", after, before)
		}
		if c, ok := bob.pool.Lookup(publicKey(before[0].ID)); !ok || c.Retired() {
			t.Error("there is no connection that does")
		}
	})
}

// Who opens streams, and answers nothing, is blamed all the same.
func TestStreamsAreNoExcuse(t *testing.T) {
	inSwarm(t, 1, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		n, x := s.nodes[0], s.stranger(1)
		talk := func(c *quic.Conn) { // a stream at each question
			stream, err := c.AcceptStream(t.Context())
			if err != nil {
				return
			}
			in, out := wire.NewReader(stream, 0), wire.NewWriter(stream)
			out.WriteFrame(wire.Frame{Body: x.hello})
			for {
				f, err := in.ReadFrame()
				if err != nil {
					return
				}
				switch f.Body.(type) {
				case wire.FindNode:
					if s, err := c.OpenStream(t.Context()); err == nil {
						s.Write(wire.AppendStreamHeader(nil, "/app")[:1]) // and no more for now
					}
				case wire.Hello:
					out.WriteFrame(wire.Frame{ID: 1, Body: wire.Ping{}}) // it is there
				}
			}
		}
		go func() {
			for {
				c, err := x.Accept(t.Context())
				if err != nil {
					return
				}
				go talk(c)
			}
		}()
		x.meet(n).conn.Close(wire.CloseNone, "") // by which it comes to be known
		time.Sleep(time.Second)
		if n.hasPeer(x.id) != 1 {
			t.Fatal("it is no contact")
		}
		before := n.marked()
		if _, _, err := n.request(within(t, time.Minute), x.id, wire.FindNode{Key: n.key}); !errors.Is(err, swarm.ErrStalled) {
			t.Errorf("the request: %v", err)
		}
		if n.marked() != before+1 {
			t.Error("it is not blamed")
		}
	})
}

// A path serves the streams of a connection that is stuck, though requests go by another,
// which ends long before they do.
func TestThePathOfUnreadStreamsIsKept(t *testing.T) {
	inSwarm(t, 4, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		bob := s.relayed()
		echoes(t, bob)
		alice := s.add(Config{Mode: ModeClient})
		conn, err := alice.Dial(within(t, time.Minute), bob.ID(), echoTest)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		time.Sleep(10 * time.Second)
		before := conn.Path()
		if before.Kind == PathRelayed {
			t.Fatalf("the path is %v", before)
		}
		for _, n := range []*Node{alice, bob} {
			for _, l := range n.links.all() {
				if l.id == alice.ID() || l.id == bob.ID() {
					n.pool.Retire(l.conn)
				}
			}
		}
		if _, err := alice.Ping(within(t, time.Minute), bob.ID()); err != nil {
			t.Error(err)
		}
		for range 10 {
			time.Sleep(time.Minute)
			if at, ok := alice.Conn(bob.ID()); conn.Path() != before || !ok || at.Path != before {
				t.Fatalf("the path is %v, was %v; to the peer %v, %t", conn.Path(), before, at.Path, ok)
			}
		}
		if !alice.sessions.Has(bob.ID()) {
			t.Error("nobody looks after the path")
		}
		said(t, conn, "hello")
	})
}
