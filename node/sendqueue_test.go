package node

import (
	"strings"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/wire"
)

// A peer that stops reading the request stream, but goes on talking, makes the
// link useless: it ends, and the next request opens another.
func TestLinkEndsWhenNothingCanBeSent(t *testing.T) {
	inSwarm(t, 1, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		n, x := s.nodes[0], s.stranger(1)
		k := x.join(n, func(wire.PeerID, wire.Message) wire.Message { return wire.Pong{} })
		if _, err := n.Ping(within(t, time.Minute), x.id); err != nil {
			t.Fatal(err)
		}
		k.stream.CancelRead(7)
		time.Sleep(time.Second)
		n.Ping(within(t, time.Minute), x.id) // may fail: it finds out
		time.Sleep(time.Second)
		if k.conn.Err() == nil {
			t.Error("the connection is open still")
		}
		if _, err := n.Ping(within(t, time.Minute), x.id); err != nil {
			t.Errorf("another connection: %v", err)
		}
	})
}

// A peer that does not read loses its connection, even if it sends no requests.
func TestLinkEndsWhenNothingIsTaken(t *testing.T) {
	inSwarm(t, 1, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		n, x := s.nodes[0], s.stranger(1)
		k := x.meet(n) // and reads no more
		l, err := n.link(within(t, time.Minute), x.id)
		if err != nil {
			t.Fatal(err)
		}
		hello := wire.Hello{Mode: wire.ModeServer, Agent: strings.Repeat("a", wire.MaxAgent)}
		for range 1 << 14 { // 1 MiB, and what flow control lets pass
			l.rpc.Send(wire.Frame{Body: hello})
		}
		if code := k.closed(); code != wire.CloseBusy {
			t.Errorf("closed with %d, want %d", code, wire.CloseBusy)
		}
	})
}
