package node

import (
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

// Streams are handled with who opened them, no more at a time than is said, and of
// one peer half of that; Close waits for them.
func TestHandle(t *testing.T) {
	inSwarm(t, 4, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		const protocol = "/test"
		callers := make(chan wire.PeerID, 100)
		if err := s.nodes[0].Handle(protocol, 4, func(from wire.PeerID, c net.Conn) {
			callers <- from
			io.Copy(c, c)
		}); err != nil {
			t.Fatal(err)
		}
		if err := s.nodes[0].Handle(protocol, 4, func(wire.PeerID, net.Conn) {}); err == nil {
			t.Error("a protocol has two handlers")
		}
		answers := func(c net.Conn) bool {
			t.Helper()
			c.SetDeadline(time.Now().Add(time.Second))
			if _, err := io.WriteString(c, "x"); err != nil {
				return false
			}
			_, err := io.ReadFull(c, make([]byte, 1))
			return err == nil
		}
		var open []net.Conn
		for i := range 2 {
			for range 2 {
				c := s.dial(i+1, 0, protocol)
				if !answers(c) {
					t.Fatalf("a stream of node %d is not handled", i+1)
				}
				open = append(open, c)
			}
		}
		third := s.dial(1, 0, protocol)
		var reset *quic.ResetError
		if _, err := third.Read(make([]byte, 1)); !errors.As(err, &reset) || reset.Code != wire.ResetBusy {
			t.Errorf("a third stream of one peer: %v, want it refused", err)
		}
		third.Close()
		waits := s.dial(3, 0, protocol)
		if answers(waits) {
			t.Error("more are handled than is said")
		}
		if len(callers) != 4 {
			t.Fatalf("%d were handled", len(callers))
		}
		open[3].Close() // makes room
		if !answers(waits) {
			t.Error("what waits is not handled when there is room")
		}
		want := []wire.PeerID{s.nodes[1].ID(), s.nodes[1].ID(), s.nodes[2].ID(), s.nodes[2].ID(), s.nodes[3].ID()}
		for i := range want {
			if from := <-callers; from != want[i] {
				t.Errorf("stream %d is of node %d", i, slices.IndexFunc(s.nodes, func(n *Node) bool { return n.ID() == from }))
			}
		}
		s.nodes[0].Close() // though streams are open
		synctest.Wait()
		for _, c := range append(open, waits) {
			c.Close()
		}
		if err := s.nodes[0].Handle("/other", 1, func(wire.PeerID, net.Conn) {}); !errors.Is(err, ErrClosed) {
			t.Errorf("a node that is closed handles streams: %v", err)
		}
	})
}
