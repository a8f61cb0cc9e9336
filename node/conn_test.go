package node

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/simnet"
)

// Conns lists the open connections, and Trace.Conn reports each that opens or closes.
func TestConnectionsAreListedAndReported(t *testing.T) {
	inSwarm(t, 1, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		var mu sync.Mutex
		var events []string
		trace := &Trace{Conn: func(e ConnEvent) {
			mu.Lock()
			defer mu.Unlock()
			events = append(events, fmt.Sprint(e.Conn.Peer == s.nodes[0].ID(), e.Closed, e.Err != nil))
			if s := e.String(); !strings.Contains(s, "connected") || !strings.Contains(s, e.Conn.Peer.String()) {
				t.Errorf("the event reads %q", s)
			}
		}}
		n := s.add(Config{Trace: trace, Mode: ModeClient})
		peer := s.nodes[0]
		all := n.Conns()
		if len(all) != 1 {
			t.Fatalf("%d connections", len(all))
		}
		c := all[0]
		if c.Peer != peer.ID() || c.Inbound || c.Mode != ModeServer || c.Path.Kind != PathDirect || c.RTT < 20*time.Millisecond || time.Since(c.Opened) > time.Minute || c.Streams != 0 || c.BytesSent == 0 || c.BytesReceived == 0 || c.Agent == "" {
			t.Errorf("the connection: %+v", c)
		}
		if back, ok := peer.Conn(n.ID()); !ok || !back.Inbound || back.Mode != ModeClient {
			t.Errorf("at the other end: %+v, %v", back, ok)
		}
		if _, ok := n.Conn(idOf(testKey(99))); ok {
			t.Error("a peer that is unknown has a connection")
		}
		s.listen(0, "/x")
		stream := s.dial(1, 0, "/x")
		if c, ok := n.Conn(peer.ID()); !ok || c.Streams != 1 {
			t.Errorf("with a stream: %+v, %v", c, ok)
		}
		stream.Close()
		select {
		case <-n.Done():
			t.Error("the node is done before it is closed")
		default:
		}
		n.Close()
		<-n.Done()
		time.Sleep(time.Second)
		mu.Lock()
		defer mu.Unlock()
		if got := strings.Join(events, ", "); got != "true false false, true true true" {
			t.Errorf("events: %s", got)
		}
	})
}
