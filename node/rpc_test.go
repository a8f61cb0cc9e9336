package node

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/internal/swarm"
	"github.com/kadquic/kadquic/wire"
)

// What a peer leaves unanswered while it talks on fails in time, however many
// requests begin just as others are given up.
func TestEveryRequestIsGivenUpInTime(t *testing.T) {
	inSwarm(t, 1, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		n, x := s.nodes[0], s.stranger(1)
		x.join(n, func(_ wire.PeerID, m wire.Message) wire.Message {
			if _, ok := m.(wire.Ping); ok {
				return wire.Pong{}
			}
			return nil
		})
		l, err := n.link(within(t, time.Minute), x.id)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		wg.Go(func() { // it is heard all the time
			for ctx.Err() == nil {
				n.Ping(ctx, x.id)
				time.Sleep(time.Second)
			}
		})
		time.Sleep(500 * time.Millisecond)
		const callers, rounds = swarm.MaxInFlight / 2, 20
		errs := make(chan error, callers)
		for range callers {
			go func() {
				for range rounds {
					if _, _, err := l.rpc.Call(within(t, 2*n.config.RPCTimeout), wire.FindNode{Key: n.key}); err != swarm.ErrNoAnswer {
						errs <- err
						return
					}
				}
				errs <- nil
			}()
		}
		for range callers {
			if err := <-errs; err != nil {
				t.Errorf("a request ended with %v, want %v", err, swarm.ErrNoAnswer)
			}
		}
	})
}

// That we have no room for another connection ourselves is no fault of the peer
// that we meant to ping.
func TestFullPoolReportsNoFailure(t *testing.T) {
	inSwarm(t, 0, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		n := s.add(Config{MaxConnections: 1})
		pong := func(wire.PeerID, wire.Message) wire.Message { return wire.Pong{} }
		x := s.stranger(0)
		x.join(n, pong)
		n.ClosePeer(x.id)
		for i := range 1 + 64 {
			full := s.stranger(i + 1)
			go func() {
				if c, err := full.Accept(context.Background()); err == nil {
					full.accepted(c, pong)
				}
			}()
			id, err := n.Connect(within(t, time.Minute), wire.JoinPeer(wire.AddrFrom(full.at), full.id))
			if err != nil {
				t.Fatal(err)
			}
			l, err := n.link(within(t, time.Minute), id)
			if err != nil {
				t.Fatal(err)
			}
			defer l.conn.Hold()()
		}
		if _, _, err := n.request(within(t, time.Minute), x.id, wire.Ping{}); !errors.Is(err, ErrBusy) {
			t.Fatalf("a request: %v, want ErrBusy", err)
		}
		n.probe(x.id)
		time.Sleep(time.Second)
		if n.marked() > 0 || n.hasPeer(x.id) != 1 {
			t.Error("the peer is blamed")
		}
	})
}
