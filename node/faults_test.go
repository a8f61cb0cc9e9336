package node

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// What the ancestor did wrong, one test each.

// hasPeer reports whether a peer stands in n's routing table, and how often.
func (n *Node) hasPeer(id wire.PeerID) (times int) {
	for _, c := range n.Peers() {
		if c.ID == id {
			times++
		}
	}
	return times
}

// The sender of a message is who TLS says, whatever the message says.
func TestSenderIsTheTLSIdentity(t *testing.T) {
	inSwarm(t, 2, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		n, other := s.nodes[0], s.nodes[1]
		x, victim := s.stranger(0), s.stranger(1)
		// It presents a valid record of another peer, with its own address.
		value, err := wire.PeerInfo{Mode: wire.ModeServer, Addrs: []wire.Addr{wire.AddrFrom(x.at)}}.Value()
		if err != nil {
			t.Fatal(err)
		}
		x.hello.Record, err = wire.Sign(wire.Record{Kind: wire.KindPeer, Key: victim.id.Key(), Seq: 1,
			Expiry: time.Now().Add(time.Hour), Value: value}, victim.key)
		if err != nil {
			t.Fatal(err)
		}
		k := x.meet(n)
		k.ask(wire.Ping{})
		if n.hasPeer(x.id) != 1 || n.hasPeer(victim.id) != 0 {
			t.Errorf("the table has %v", n.Peers())
		}
		if p, err := n.FindPeer(within(t, time.Minute), x.id); err != nil || p.Record != nil {
			t.Errorf("found %v with record %v, %v", p.ID, p.Record, err)
		}
		if _, err := other.FindPeer(within(t, time.Minute), victim.id); !errors.Is(err, ErrNotFound) {
			t.Errorf("found a peer that was never there: %v", err)
		}
	})
}

// The ancestor pinged whomever it met: a put cost hundreds of pings. Ours costs
// none, also where every bucket is full.
func TestAPutCostsNoPings(t *testing.T) {
	inSwarm(t, 0, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		for range 14 {
			s.add(Config{K: 3})
		}
		pings := func() (sum int64) {
			for _, n := range s.nodes {
				sum += n.Stats().Sent.Ping
			}
			return sum
		}
		before := pings()
		for i := range 20 {
			if _, err := s.pick(0).Put(within(t, time.Minute), routing.KeyOf(fmt.Sprint(i)), []byte("x"), nil); err != nil {
				t.Fatal(err)
			}
		}
		if sent := pings() - before; sent > 0 {
			t.Errorf("20 puts cost %d pings", sent)
		}
	})
}

// A refresh looks up a random key in the range of each bucket without a lookup for an hour. The
// Rust ancestor chose keys outside the range.
func TestRefreshAimsAtItsOwnRanges(t *testing.T) {
	inSwarm(t, 0, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		for range 16 {
			s.add(Config{K: 3})
		}
		n := slices.MaxFunc(s.nodes, func(a, b *Node) int { return cmp.Compare(len(a.Table()), len(b.Table())) })
		buckets := n.Table()
		if len(buckets) < 3 {
			t.Fatalf("only %d buckets", len(buckets))
		}
		var targets []routing.Key
		ctx := WithTrace(within(t, time.Minute), &Trace{Lookup: func(e LookupStart) { targets = append(targets, e.Target) }})
		time.Sleep(time.Millisecond)
		if err := n.joiner.Refresh(ctx, time.Now()); err != nil {
			t.Fatal(err)
		}
		i := 0
		for _, target := range targets {
			depth := n.key.CommonPrefixLen(target)
			if last := i == len(buckets)-1; depth < i || depth > i && !last {
				t.Errorf("refresh %d of %d looked up a key that shares %d bits", i, len(buckets), depth)
			}
			i++
		}
		if i != len(buckets) {
			t.Errorf("%d refreshes of %d buckets", i, len(buckets))
		}
	})
}

// Every bucket is looked up in at least once an hour, and a quarter or so.
func TestRefreshIsHourly(t *testing.T) {
	inSwarm(t, 3, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		time.Sleep(3 * time.Hour)
		for i, n := range s.nodes {
			for _, b := range n.Table() {
				if ago := time.Since(b.Looked); ago > 65*time.Minute {
					t.Errorf("node %d: a bucket was last looked up in %v ago", i, ago)
				}
			}
			if sent := n.Stats().Sent; sent.FindNode > 40 {
				t.Errorf("node %d: %d FIND_NODE in 3 hours of doing nothing", i, sent.FindNode)
			}
		}
	})
}

// A node does not enter its own table, nor dial itself, whoever names it.
func TestANodeIsNeverInItsOwnTable(t *testing.T) {
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		// A bootstrap list for all nodes names the node itself as well.
		self := wire.JoinPeer(wire.AddrFrom(host(1)), wire.PeerID(testKey(1)[32:]))
		n := s.add(Config{Bootstrap: append(s.addrs(0), self)})
		x := s.stranger(0)
		x.join(n, func(_ wire.PeerID, m wire.Message) wire.Message {
			if _, ok := m.(wire.FindNode); ok {
				return wire.Nodes{Contacts: []wire.Contact{{ID: n.ID(), Addrs: []wire.Addr{wire.AddrFrom(host(1)), wire.AddrFrom(x.at)}}}}
			}
			return nil
		})
		if _, err := n.Nearest(within(t, time.Minute), n.Key()); err != nil {
			t.Fatal(err)
		}
		if err := n.Bootstrap(within(t, time.Minute), self); err != nil {
			t.Errorf("bootstrap through itself: %v", err)
		}
		if n.hasPeer(n.ID()) != 0 {
			t.Error("the node is in its own table")
		}
		if got := n.Stats(); got.Peers != 2 || got.Connections != 2 {
			t.Errorf("%d peers, %d connections; want 2, 2", got.Peers, got.Connections)
		}
		if id, err := n.Connect(within(t, time.Minute), self); err != nil || id != n.ID() {
			t.Errorf("connect to itself: %v, %v", id, err)
		}
	})
}

// A peer at two addresses, met from both sides, is one entry, and the
// connections to it become one.
func TestOnePeerOneEntry(t *testing.T) {
	inSwarm(t, 1, simnet.Options{Delay: 20 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		a := s.nodes[0]
		second := host(500)
		b := s.make(Config{PacketConns: []net.PacketConn{s.net.Listen(host(1)), s.net.Listen(second)}})
		if err := b.Start(within(t, time.Minute)); err != nil {
			t.Fatal(err)
		}
		for _, at := range []wire.Addr{wire.AddrFrom(host(1)), wire.AddrFrom(second)} {
			a.ClosePeer(b.ID())
			if _, err := a.Connect(within(t, time.Minute), wire.JoinPeer(at, b.ID())); err != nil {
				t.Fatal(err)
			}
		}
		a.ClosePeer(b.ID())
		time.Sleep(time.Second)
		errs := make(chan error, 2)
		go func() { _, err := a.Ping(within(t, time.Minute), b.ID()); errs <- err }()
		go func() { _, err := b.Ping(within(t, time.Minute), a.ID()); errs <- err }()
		for range 2 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if a.hasPeer(b.ID()) != 1 || b.hasPeer(a.ID()) != 1 {
			t.Errorf("tables: %v, %v", a.Peers(), b.Peers())
		}
		time.Sleep(5 * time.Second)
		if na, nb := a.Stats().Connections, b.Stats().Connections; na != 1 || nb != 1 {
			t.Errorf("%d and %d connections, want 1 each", na, nb)
		}
	})
}

// After crossing dials there are two connections for a while. Disconnect closes both.
func TestDisconnectAfterCrossingDials(t *testing.T) {
	inSwarm(t, 2, simnet.Options{Delay: 20 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		a, b := s.nodes[0], s.nodes[1]
		a.ClosePeer(b.ID())
		time.Sleep(time.Second)
		errs := make(chan error, 2)
		go func() { _, err := a.Ping(within(t, time.Minute), b.ID()); errs <- err }()
		go func() { _, err := b.Ping(within(t, time.Minute), a.ID()); errs <- err }()
		for range 2 {
			if err := <-errs; err != nil {
				t.Fatal(err)
			}
		}
		if got := a.Stats().Connections; got != 2 {
			t.Fatalf("%d connections, want 2", got)
		}
		a.ClosePeer(b.ID())
		time.Sleep(time.Second)
		if na, nb := a.Stats().Connections, b.Stats().Connections; na != 0 || nb != 0 {
			t.Errorf("%d and %d connections are left", na, nb)
		}
	})
}

// In the ancestor a value was lost when all nodes of one round of a lookup were
// dead. Here the α nearest that the asker knows are.
func TestOneDeadRoundLosesNothing(t *testing.T) {
	inSwarm(t, 10, simnet.Options{Delay: 20 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		key := routing.KeyOf("survivor")
		n := s.nodes[0]
		if _, err := s.nodes[1].Put(within(t, time.Minute), key, []byte("alive"), nil); err != nil {
			t.Fatal(err)
		}
		client := s.add(Config{Mode: ModeClient})
		if _, err := client.Nearest(within(t, time.Minute), key); err != nil {
			t.Fatal(err)
		}
		near := client.routes.Nearest(nil, key, 2*client.config.K)
		dead := 0
		for _, c := range near {
			for i, n := range s.nodes {
				if n.ID() == c.Addr.ID && i > 0 && dead < client.config.Alpha {
					s.kill(i)
					dead++
				}
			}
		}
		start := time.Now()
		if got, err := client.Get(within(t, time.Minute), key, nil); err != nil || string(got.Data) != "alive" {
			t.Errorf("get: %q, %v", got.Data, err)
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("the dead round cost %v", took)
		}
		key = routing.KeyOf("another")
		if stored, err := n.Put(within(t, time.Minute), key, nil, nil); err != nil || stored.Count != 7 {
			t.Errorf("put with 3 of 10 dead: %v, %v", stored, err)
		}
	})
}

// Get reads the local store first, and sends no request if that suffices.
func TestGetSeesTheLocalStore(t *testing.T) {
	inSwarm(t, 3, simnet.Options{Delay: 20 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		n, key := s.nodes[1], routing.KeyOf("at hand")
		if _, err := n.Put(within(t, time.Minute), key, []byte("here"), nil); err != nil {
			t.Fatal(err)
		}
		before := n.Stats().Sent.Total()
		s.net.Partition(hosts(1, 2))
		v, err := n.Get(within(t, time.Minute), key, nil)
		if err != nil || string(v.Data) != "here" || v.From != n.ID() {
			t.Errorf("cut off from everybody: %v, %v", v, err)
		}
		if sent := n.Stats().Sent.Total() - before; sent > 0 {
			t.Errorf("the get cost %d requests", sent)
		}
	})
}

// A node whose bootstrap peer is dead says so at once, works alone, and is in
// the network soon after the peer has come.
func TestADeadBootstrapIsAnErrorAndTriedAgain(t *testing.T) {
	inSwarm(t, 0, simnet.Options{Delay: 20 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		late := wire.PeerID(testKey(1)[32:])
		n := s.make(Config{Bootstrap: []ma.Multiaddr{wire.JoinPeer(wire.AddrFrom(host(1)), late)}})
		start := time.Now()
		err := n.Start(within(t, time.Minute))
		var berr *BootstrapError
		if !errors.As(err, &berr) || !errors.Is(err, ErrUnreachable) || len(berr.Causes) != 1 {
			t.Fatalf("start: %v", err)
		}
		if took := time.Since(start); took > 6*time.Second {
			t.Errorf("it took %v to say so", took)
		}
		if stored, err := n.Put(within(t, time.Minute), routing.KeyOf("x"), nil, nil); !errors.Is(err, ErrUnreachable) || stored.Count != 1 {
			t.Errorf("alone: %v, %v", stored, err)
		}
		time.Sleep(10 * time.Minute)
		if err := s.make(Config{Bootstrap: []ma.Multiaddr{}}).Start(within(t, time.Minute)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(6 * time.Minute)
		if peers := n.Stats().Peers; peers != 1 {
			t.Errorf("%d peers 6 minutes after the bootstrap peer came", peers)
		}
	})
}

// A bootstrap peer that is named with several addresses, as one with IPv4 and IPv6
// is, needs to be at one of them only, whichever is tried first.
func TestBootstrapByAnyAddressOfAPeer(t *testing.T) {
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		var list []ma.Multiaddr
		for _, at := range []int{70, 71, 0, 72} {
			list = append(list, wire.JoinPeer(wire.AddrFrom(host(at)), s.nodes[0].ID()))
		}
		for range 5 {
			n := s.make(Config{Bootstrap: list})
			if err := n.Start(within(t, time.Minute)); err != nil {
				t.Errorf("start: %v", err)
			}
		}
	})
}

// A bootstrap list may be wrong in every way at once: each cause is told.
func TestBootstrapErrorTellsEveryCause(t *testing.T) {
	inSwarm(t, 2, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		nobody := wire.JoinPeer(wire.AddrFrom(host(77)), s.stranger(0).id)
		wrong := wire.JoinPeer(wire.AddrFrom(host(1)), s.stranger(1).id)
		n := s.make(Config{Bootstrap: []ma.Multiaddr{nobody, wrong}})
		err := n.Start(within(t, time.Minute))
		if !errors.Is(err, ErrUnreachable) || !errors.Is(err, ErrWrongPeer) || !errors.Is(err, quic.ErrTimeout) {
			t.Errorf("start: %v", err)
		}
	})
}
