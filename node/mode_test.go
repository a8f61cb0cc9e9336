package node

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// A client puts and gets, is in no peer's table, and holds no records for others.
func TestClientEntersNoTable(t *testing.T) {
	inSwarm(t, 5, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		client := s.add(Config{Mode: ModeClient})
		key := routing.KeyOf("from a client")
		if stored := s.put(client, key, "x", PutOptions{}); stored.Count != 5 || stored.Of != 5 {
			t.Errorf("put: %v, want 5 of 5", stored)
		}
		s.wantGet(s.nodes[3], key, GetOptions{}, "x")
		s.wantGet(client, key, GetOptions{}, "x")
		if near, err := client.Nearest(within(t, time.Minute), client.Key()); err != nil || len(near) != 5 {
			t.Errorf("nearest to itself: %d, %v; want the 5 servers", len(near), err)
		}
		time.Sleep(2 * time.Hour)
		for i, n := range s.nodes[:5] {
			if n.hasPeer(client.ID()) > 0 {
				t.Errorf("node %d has the client in its table", i)
			}
		}
		if held := client.Stats().Records; held > 0 {
			t.Errorf("the client holds %d records", held)
		}
	})
}

// A client refuses to store, in words.
func TestAClientStoresNothing(t *testing.T) {
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		client := s.add(Config{Mode: ModeClient})
		r := signed(t, 1, wire.Record{Kind: wire.KindContent, Expiry: time.Now().Add(time.Hour), Value: []byte("x")})
		m := s.stranger(0).meet(client).ask(wire.Store{Records: []*wire.Signed{r}})
		if e, ok := m.(wire.Error); !ok || e.Code != wire.CodeUnimplemented || e.Message == "" {
			t.Errorf("STORE at a client: %#v", m)
		}
	})
}

// A server that returns as a client leaves all tables.
func TestAServerThatBecomesAClient(t *testing.T) {
	inSwarm(t, 3, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		x := s.stranger(0)
		k := x.meet(s.nodes[0])
		k.ask(wire.Ping{})
		if s.nodes[0].hasPeer(x.id) != 1 {
			t.Fatal("the server is no contact")
		}
		k.conn.Close(wire.CloseNone, "")
		x.hello.Mode = wire.ModeClient
		x.meet(s.nodes[0]).ask(wire.Ping{})
		if s.nodes[0].hasPeer(x.id) != 0 {
			t.Error("the client is a contact still")
		}
	})
}

// A client without an answer reports that: it never claims that a value was stored or does not exist.
func TestALoneClient(t *testing.T) {
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		client := s.make(Config{Mode: ModeClient})
		s.kill(0)
		if err := client.Start(within(t, time.Minute)); !errors.Is(err, ErrUnreachable) {
			t.Errorf("start: %v", err)
		}
		key := routing.KeyOf("x")
		for name, op := range map[string]func(context.Context) error{
			"put":       func(ctx context.Context) error { _, err := client.Put(ctx, key, nil, nil); return err },
			"get":       func(ctx context.Context) error { _, err := client.Get(ctx, key, nil); return err },
			"nearest":   func(ctx context.Context) error { _, err := client.Nearest(ctx, key); return err },
			"find peer": func(ctx context.Context) error { _, err := client.FindPeer(ctx, s.nodes[0].ID()); return err },
			"ping":      func(ctx context.Context) error { _, err := client.Ping(ctx, s.nodes[0].ID()); return err },
		} {
			if err := op(within(t, time.Minute)); !errors.Is(err, ErrUnreachable) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// A client finds its way back by the bootstrap list when all it knew is gone.
func TestAClientFindsTheNetworkAgain(t *testing.T) {
	inSwarm(t, 3, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		client := s.make(Config{Mode: ModeClient})
		s.net.Partition(hosts(3, 4))
		if err := client.Start(within(t, time.Minute)); err == nil {
			t.Fatal("started while cut off")
		}
		s.net.Heal()
		key := routing.KeyOf("x")
		if stored := s.put(client, key, "y", PutOptions{}); stored.Count != 3 {
			t.Errorf("put once healed: %v", stored)
		}
	})
}

// FindPeer finds where a peer is by its own signed word.
func TestFindPeer(t *testing.T) {
	inSwarm(t, 6, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		time.Sleep(time.Minute) // records are published
		client := s.add(Config{Mode: ModeClient})
		for i, n := range s.nodes[:6] {
			p, err := client.FindPeer(within(t, time.Minute), n.ID())
			if err != nil || p.Record == nil || p.Mode != ModeServer || p.Record.Record.Publisher != n.ID() {
				t.Errorf("node %d: %+v, %v", i, p, err)
				continue
			}
			if info, err := p.Record.Record.PeerInfo(); err != nil || len(info.Addrs) != 1 || info.Addrs[0] != wire.AddrFrom(host(i)) {
				t.Errorf("node %d: its record says %+v, %v", i, info, err)
			}
		}
		if p, err := client.FindPeer(within(t, time.Minute), client.ID()); err != nil || p.Mode != ModeClient {
			t.Errorf("itself: %+v, %v", p, err)
		}
		if _, err := client.FindPeer(within(t, time.Minute), idOf(testKey(77))); !errors.Is(err, ErrNotFound) {
			t.Errorf("nobody: %v", err)
		}
	})
}

// While a slow listener handles one change of mode, later changes wait, and are reported in order.
func TestModesAreToldInOrder(t *testing.T) {
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		var told []Mode
		reading, read := make(chan struct{}), make(chan struct{})
		n := s.add(Config{Trace: &Trace{Reach: func(e ReachEvent) {
			if e.Mode == ModeAuto {
				return
			}
			if told = append(told, e.Mode); len(told) == 1 {
				close(reading)
				<-read
			}
		}}})
		now := time.Now()
		noes := func() {
			for i := range byte(reach.EnoughFailures) {
				n.self.DialFailed(host(1), wire.PeerID{i}, reach.SiteOf(host(10+int(i)).Addr()), now, now)
			}
		}
		yes := func() {
			n.self.OnInbound(reach.Entry{From: host(20).Addr(), At: host(1), Fresh: true, Unsolicited: true}, now)
		}
		noes()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			n.decideMode(now)
		}()
		<-reading
		for range 3 {
			yes()
			n.decideMode(now) // does not wait
			noes()
			n.decideMode(now)
		}
		close(read)
		<-ended
		want := []Mode{ModeClient, ModeServer, ModeClient, ModeServer, ModeClient, ModeServer, ModeClient}
		if !slices.Equal(told, want) {
			t.Errorf("told %v, want %v", told, want)
		}
	})
}
