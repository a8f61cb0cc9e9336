package node

import (
	"io"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/routing"
)

// A peer of which nothing is known but its ID is found through the network, and
// dialled.
func TestDialByID(t *testing.T) {
	inSwarm(t, 0, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		for range 12 {
			s.add(Config{K: 3}) // so that no node knows all others
		}
		client := s.add(Config{K: 3, Mode: ModeClient})
		found := 0
		for i := range 12 {
			if client.knowsWhere(s.nodes[i].ID()) {
				continue
			}
			found++
			ln := s.listen(i, "/echo")
			go echo(ln)
			c := s.dial(12, i, "/echo")
			c.Write([]byte("hi"))
			b := make([]byte, 2)
			if _, err := io.ReadFull(c, b); err != nil || string(b) != "hi" {
				t.Errorf("node %d: %q, %v", i, b, err)
			}
			c.Close()
			ln.Close()
		}
		if found == 0 {
			t.Error("the client knew everybody before")
		}
	})
}

// A connection unused for 30 seconds is closed, without blame, and the next
// request opens another.
func TestIdleConnectionsCloseAndReopen(t *testing.T) {
	inSwarm(t, 2, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		a, b := s.nodes[0], s.nodes[1]
		time.Sleep(5 * time.Minute)
		if na, nb := a.Stats().Connections, b.Stats().Connections; na != 0 || nb != 0 {
			t.Fatalf("%d and %d connections after minutes of silence", na, nb)
		}
		if a.hasPeer(b.ID()) != 1 || a.marked() > 0 {
			t.Error("a peer is blamed for its silence")
		}
		if _, err := b.Ping(within(t, time.Minute), a.ID()); err != nil {
			t.Error(err)
		}
		if na, nb := a.Stats().Connections, b.Stats().Connections; na != 1 || nb != 1 {
			t.Errorf("%d and %d connections while in use", na, nb)
		}
		// The dialler closes after 30 s; as long as either asks it stays.
		before, _ := a.pool.Lookup(publicKey(b.ID()))
		for _, n := range []*Node{a, a, a, b, b, b} {
			time.Sleep(25 * time.Second)
			other := map[*Node]*Node{a: b, b: a}[n]
			if _, err := n.Ping(within(t, time.Minute), other.ID()); err != nil {
				t.Error(err)
			}
			if now, _ := a.pool.Lookup(publicKey(b.ID())); now != before {
				t.Fatal("a connection in use was closed for being idle")
			}
		}
		time.Sleep(40 * time.Second)
		if n := a.Stats().Connections; n != 0 {
			t.Errorf("%d connections after 40 idle seconds", n)
		}
	})
}

// A request that crosses the idle close on the wire is sent again. The caller does not notice, at
// whichever moment around the close it sends.
func TestRequestsAcrossAnIdleClose(t *testing.T) {
	inSwarm(t, 2, simnet.Options{Delay: 50 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		a, b := s.nodes[0], s.nodes[1]
		for i := range 40 {
			if _, err := b.Nearest(within(t, time.Minute), routing.KeyOf("x")); err != nil { // b dials, and closes first
				t.Fatal(err)
			}
			time.Sleep(29800*time.Millisecond + time.Duration(i)*10*time.Millisecond)
			if _, err := a.Ping(within(t, time.Minute), b.ID()); err != nil {
				t.Errorf("ping %d: %v", i, err)
			}
			if near, err := a.Nearest(within(t, time.Minute), b.Key()); err != nil || len(near) != 2 {
				t.Errorf("lookup %d: %v, %v", i, near, err)
			}
			a.ClosePeer(b.ID())
			time.Sleep(time.Second)
		}
		if a.marked()+b.marked() > 0 {
			t.Error("a peer is blamed")
		}
	})
}

// An open stream keeps its connection, however long nothing is said on it.
func TestAnOpenStreamHoldsItsConnection(t *testing.T) {
	inSwarm(t, 2, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		go echo(s.listen(1, "/echo"))
		c := s.dial(0, 1, "/echo")
		b := make([]byte, 1)
		for range 3 {
			time.Sleep(10 * time.Minute)
			if _, err := c.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(c, b); err != nil {
				t.Fatal(err)
			}
		}
		c.Close()
		time.Sleep(2 * time.Minute)
		if n := s.nodes[0].Stats().Connections; n != 0 {
			t.Errorf("%d connections after the stream", n)
		}
	})
}
