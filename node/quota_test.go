package node

import (
	"errors"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/internal/swarm"
	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

// A peer with two connections, or a new one, has the same quota as one that stays.
func TestRequestsAreCountedByPeer(t *testing.T) {
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		x := s.stranger(0)
		x.hello.Mode = wire.ModeClient // asked nothing
		ask := func(k *talk) (served int) {
			for range 150 {
				if _, ok := k.ask(wire.Ping{}).(wire.Pong); ok {
					served++
				}
			}
			return served
		}
		first, second := x.meet(s.nodes[0]), x.meet(s.nodes[0])
		if a, b := ask(first), ask(second); a != 150 || b != 50 {
			t.Errorf("%d and %d requests served on two connections, want 200 in all", a, b)
		}
		first.conn.Close(0, "")
		second.conn.Close(0, "")
		time.Sleep(time.Second)
		if n := ask(x.meet(s.nodes[0])); n != 50 {
			t.Errorf("%d served after coming again, want those of a second", n)
		}
		if n := ask(s.stranger(1).meet(s.nodes[0])); n != 150 {
			t.Errorf("another peer is served %d", n)
		}
	})
}

// A peer has a hundred application streams, by however many connections.
func TestStreamsAreCountedByPeer(t *testing.T) {
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		n, x := s.nodes[0], s.stranger(0)
		s.listen(0, "/app")
		talks := []*talk{x.meet(n), x.meet(n)}
		var all []*quic.Stream
		open := func(i int) *quic.Stream {
			stream, err := talks[i%2].conn.OpenStream(within(t, time.Minute))
			if err != nil {
				t.Fatal(err)
			}
			stream.Write(wire.AppendStreamHeader(nil, "/app")[:1]) // and no more for now
			all = append(all, stream)
			return stream
		}
		busy := func(stream *quic.Stream) bool {
			stream.SetReadDeadline(time.Now().Add(time.Second))
			_, err := stream.Read(make([]byte, 1))
			var reset *quic.ResetError
			return errors.As(err, &reset) && reset.Code == wire.ResetBusy
		}
		for range swarm.MaxPeerStreams {
			open(len(all))
		}
		if busy(all[0]) || busy(all[swarm.MaxPeerStreams-1]) || !busy(open(0)) || !busy(open(1)) {
			t.Errorf("not %d streams were let in", swarm.MaxPeerStreams)
		}
		all[0].Reset(wire.ResetCancelled)
		time.Sleep(100 * time.Millisecond) // of virtual time: it arrives, and is taken note of
		if stream := open(0); busy(stream) {
			t.Error("one was given up, and no other is let in")
		}
		time.Sleep(headerTimeout)
		s.add(Config{}) // whose streams are its own
		if c := s.dial(1, 0, "/app"); c.Close() != nil {
			t.Error(c)
		}
		if q := n.quotas.Acquire(x.id, time.Now()); q.Streams() != 0 {
			t.Errorf("%d streams are still counted", q.Streams())
		}
	})
}
