package node

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/internal/relay/client"
	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

const wantRelays = client.Wanted

// relayed starts a client that listens for a protocol, and waits until it has its
// reservations.
func (s *testNetwork) relayed() *Node {
	s.t.Helper()
	n := s.add(Config{Mode: ModeClient})
	if _, err := n.Listen("/test"); err != nil {
		s.t.Fatal(err)
	}
	time.Sleep(10 * time.Second)
	if len(n.Relays()) != wantRelays {
		s.t.Fatalf("relays: %+v, want %d", n.Relays(), wantRelays)
	}
	return n
}

// namesRelays checks that the record of a peer, as another finds it, names exactly
// the relays that the peer has.
func (s *testNetwork) namesRelays(finder, n *Node) {
	s.t.Helper()
	p, err := finder.FindPeer(within(s.t, time.Minute), n.ID())
	if err != nil || p.Record == nil || p.Mode != ModeClient {
		s.t.Fatalf("found %+v, %v", p, err)
	}
	info, err := p.Record.Record.PeerInfo()
	if err != nil || !slices.Equal(info.Relays, n.relays.Relays()) {
		s.t.Errorf("the record names %v, %v; the peer has %v", info.Relays, err, n.relays.Relays())
	}
	if by := finder.relays.RelaysOf(n.ID()); !slices.Equal(by, info.Relays) {
		s.t.Errorf("relaysOf: %v, want %v", by, info.Relays)
	}
}

// An unreachable node has three reservations, at the servers nearest to its key. A lookup finds them,
// although the node is in no table.
func TestAClientIsFoundByItsRelays(t *testing.T) {
	inSwarm(t, 12, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		bob := s.relayed()
		near := slices.Clone(s.nodes[:12])
		slices.SortFunc(near, func(a, b *Node) int { return bob.Key().CompareDistance(a.Key(), b.Key()) })
		for i, r := range bob.Relays() {
			if r.ID != near[i].ID() || r.RTT != 20*time.Millisecond || time.Until(r.Expires) < 50*time.Minute {
				t.Errorf("relay %d is %+v, want %s", i, r, near[i].ID())
			}
			if st := near[i].Stats().Relay; st.Reservations != 1 {
				t.Errorf("relay %d: %+v", i, st)
			}
		}
		s.namesRelays(s.nodes[3], bob)

		addrs := bob.Addrs()
		circuit := addrs[len(addrs)-1]
		if c, err := wire.ParseCircuit(circuit); err != nil || c.Peer != bob.ID() || c.Relay != near[2].ID() || c.Addr == "" {
			t.Errorf("circuit %s: %+v, %v", circuit, c, err)
		}
		time.Sleep(3 * time.Hour) // the reservations are kept while nothing else happens
		s.namesRelays(s.nodes[5], bob)
		for i, n := range s.nodes[:12] {
			if n.hasPeer(bob.ID()) > 0 {
				t.Errorf("node %d has the client in its table", i)
			}
		}
		if got := bob.Relays(); got[0].ID != near[0].ID() || time.Since(got[0].Since) < 3*time.Hour {
			t.Errorf("the reservations were not kept: %+v", got)
		}
	})
}

// A relay that dies, one that leaves and one that has become a client are
// replaced by others, and the record says so.
func TestRelaysAreReplaced(t *testing.T) {
	inSwarm(t, 10, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		bob := s.relayed()
		finder := s.nodes[0]
		replaced := func(what string, i int, within time.Duration) {
			t.Helper()
			time.Sleep(within)
			held := bob.relays.Relays()
			if len(held) != wantRelays || slices.Contains(held, s.nodes[i].ID()) {
				t.Fatalf("%s, and %v later the relays are %v", what, within, held)
			}
			time.Sleep(5 * time.Second)
			s.namesRelays(finder, bob)
		}
		pick := func() int {
			for i, n := range s.nodes[:10] {
				if i > 0 && slices.Contains(bob.relays.Relays(), n.ID()) {
					return i
				}
			}
			t.Fatal("no relay left")
			return 0
		}
		i := pick()
		s.nodes[i].Close()
		replaced("a relay leaves", i, 12*time.Second) // a peer may still name it, which costs a timeout
		i = pick()
		s.kill(i)
		replaced("a relay dies", i, 40*time.Second)
		i = pick()
		s.nodes[i].relay.Release(bob.ID()) // as if it had forgotten: it is asked again
		time.Sleep(20 * time.Second)
		if !s.nodes[i].relay.Reserved(bob.ID(), time.Now()) {
			t.Error("a reservation that the relay has forgotten is not renewed")
		}
	})
}

// A node that was cut off for half a minute keeps its reservations. After a longer time it soon
// has others.
func TestReservationsOutliveABriefOutage(t *testing.T) {
	inSwarm(t, 6, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		bob := s.relayed()
		before := bob.Relays()
		for _, c := range []struct {
			away time.Duration
			same bool
		}{{30 * time.Second, true}, {3 * time.Minute, false}} {
			s.net.Partition(hosts(0, 6), hosts(6, 7))
			time.Sleep(c.away)
			s.net.Heal()
			time.Sleep(time.Minute)
			got := bob.Relays()
			if same := len(got) == wantRelays && got[0].Since.Equal(before[0].Since); len(got) != wantRelays || same != c.same {
				t.Errorf("away for %v: %d relays, the same: %v", c.away, len(got), same)
			}
			if _, err := s.nodes[2].FindPeer(within(t, time.Minute), bob.ID()); err != nil {
				t.Error(err)
			}
			for _, r := range got {
				i := slices.IndexFunc(s.nodes, func(n *Node) bool { return n.ID() == r.ID })
				if !s.nodes[i].relay.Reserved(bob.ID(), time.Now()) {
					t.Errorf("away for %v: node %d has no reservation", c.away, i)
				}
			}
		}
	})
}

// Reachable nodes, and clients that do not listen, make no reservations. A client that stops listening
// releases them.
func TestNodesThatMakeReservations(t *testing.T) {
	inSwarm(t, 5, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		asker := s.add(Config{Mode: ModeClient})
		s.add(Config{Mode: ModeServer})
		time.Sleep(time.Minute)
		for i, n := range s.nodes {
			if len(n.Relays()) > 0 || n.relays.Host.WantsRelays() {
				t.Errorf("node %d has relays: %+v", i, n.Relays())
			}
		}
		ln, err := asker.Listen("/test")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if len(asker.Relays()) != wantRelays {
			t.Errorf("%d relays", len(asker.Relays()))
		}
		ln.Close()
		time.Sleep(time.Minute)
		if len(asker.Relays()) != 0 || asker.published == [64]byte{} {
			t.Errorf("relays that nobody wants: %+v", asker.Relays())
		}
		for i, n := range s.nodes[:5] {
			if st := n.Stats().Relay; st.Reservations != 0 {
				t.Errorf("node %d: %+v", i, st)
			}
		}
		p, err := s.nodes[1].FindPeer(within(t, time.Minute), asker.ID())
		if err != nil {
			t.Fatal(err)
		}
		if info, err := p.Record.Record.PeerInfo(); err != nil || len(info.Relays) != 0 {
			t.Errorf("the record still names %v, %v", info.Relays, err)
		}
	})
}

// Where all servers are in one network a node has two relays, which is better than
// one.
func TestRelaysOfOneNetwork(t *testing.T) {
	inSwarm(t, 0, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		for i := range 5 {
			at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{25, 9, 9, byte(i + 1)}), 4774)
			c := Config{PacketConns: []net.PacketConn{s.net.Listen(at)}, Bootstrap: []ma.Multiaddr{}}
			if i > 0 {
				c.Bootstrap = s.nodes[0].Addrs()
			}
			s.add(c)
		}
		n := s.add(Config{Mode: ModeClient, Bootstrap: s.nodes[0].Addrs()})
		if _, err := n.Listen("/test"); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			time.Sleep(3 * time.Minute)
			if got := len(n.Relays()); got != client.Needed {
				t.Errorf("%d relays, want %d", got, client.Needed)
			}
		}
	})
}

// through connects a node to another through a relay only. It sets the routes of both sides by hand,
// and also returns the relay.
func (s *testNetwork) through(alice, bob *Node) (*quic.Conn, *Node) {
	s.t.Helper()
	i := slices.IndexFunc(s.nodes, func(n *Node) bool { return n != alice && slices.Contains(bob.relays.Relays(), n.ID()) })
	r := s.nodes[i]
	if _, err := alice.AddAddr(wire.Circuit{Addr: wire.AddrFrom(host(i)), Relay: r.ID(), Peer: bob.ID()}.Multiaddr()); err != nil {
		s.t.Fatal(err)
	}
	if by := alice.relays.RelaysOf(bob.ID()); !slices.Contains(by, r.ID()) {
		s.t.Errorf("relays of Bob: %v", by)
	}
	alice.relays.Call(within(s.t, time.Minute), r.ID(), bob.ID(), []byte("x"), 100) // opens the way, whatever Bob makes of it
	la, err := alice.link(within(s.t, time.Minute), r.ID())
	if err != nil {
		s.t.Fatal(err)
	}
	lb, err := bob.link(within(s.t, time.Minute), r.ID())
	if err != nil || !bob.relays.HasReservation(lb.id) || alice.relays.HasReservation(la.id) {
		s.t.Fatalf("Bob's reservation: %v", err)
	}
	alice.relays.SetRoute(bob.ID(), relayLink{la})
	bob.relays.SetRoute(alice.ID(), relayLink{lb})
	if by, ok := bob.relays.Route(alice.ID()); !ok || by != r.ID() {
		s.t.Errorf("Bob reaches Alice by %v, %v", by, ok)
	}
	tr := alice.transports[0]
	at, err := tr.Virtual(publicKey(bob.ID()))
	if err != nil {
		s.t.Fatal(err)
	}
	c, err := tr.Dial(within(s.t, time.Minute), at, publicKey(bob.ID()))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close(0, "") })
	stream, err := c.OpenStream(within(s.t, time.Minute))
	if err != nil {
		s.t.Fatal(err)
	}
	if err := wire.NewWriter(stream).WriteFrame(wire.Frame{Body: wire.Hello{Mode: wire.ModeClient}}); err != nil {
		s.t.Fatal(err)
	}
	f, err := wire.NewReader(stream, 0).ReadFrame()
	if _, ok := f.Body.(wire.Hello); err != nil || !ok {
		s.t.Fatalf("Bob says %+v, %v", f.Body, err)
	}
	return c, r
}

// A connection is made through a relay alone: its packets of 1200 bytes go in two
// parts each, both ways.
func TestConnectionThroughARelay(t *testing.T) {
	inSwarm(t, 6, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		alice, bob := s.nodes[0], s.relayed()
		c, r := s.through(alice, bob)
		if p := c.Path(); p.Kind != quic.Relayed {
			t.Errorf("path %+v", p)
		}
		st := r.Stats().Relay
		if st.Flows != 1 || st.Packets < 8 || st.Dropped > 0 {
			t.Errorf("%+v", st)
		}
		// The relay forwards credit like any other packet.
		alice.relays.SendCredit(bob.ID(), 1000)
		time.Sleep(100 * time.Millisecond)
		if now := r.Stats().Relay; now.Bytes-st.Bytes < 1000 {
			t.Errorf("credit: %d bytes are forwarded", now.Bytes-st.Bytes)
		}
	})
}

// A call that fails leaves the route: packets go through the same relay as before, unless that
// relay holds no reservation of the peer any more.
func TestAFailedCallLeavesTheRoute(t *testing.T) {
	inSwarm(t, 6, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		alice, bob := s.nodes[0], s.relayed()
		_, r := s.through(alice, bob)
		for _, other := range s.nodes[1:6] {
			if slices.Contains(bob.relays.Relays(), other.ID()) {
				continue
			}
			if _, err := alice.relays.Call(within(t, time.Minute), other.ID(), bob.ID(), []byte("x"), 0); !errors.Is(err, wire.CodeUnreachable) {
				t.Errorf("a call by one who does not relay to Bob: %v", err)
			}
			if by, ok := alice.relays.Route(bob.ID()); !ok || by != r.ID() {
				t.Errorf("packets go by %v, %v, want %v", by, ok, r.ID())
			}
		}
		la, err := alice.link(within(t, time.Minute), r.ID())
		if err != nil {
			t.Fatal(err)
		}
		busy := 0
		for range 100 { // more than Bob, or the relay, answers
			alice.relays.SetRoute(bob.ID(), relayLink{la})
			if _, err := alice.relays.Call(within(t, time.Minute), r.ID(), bob.ID(), []byte("x"), 0); !errors.Is(err, ErrBusy) {
				continue
			}
			busy++
			if by, ok := alice.relays.Route(bob.ID()); !ok || by != r.ID() {
				t.Fatalf("after too many calls packets go by %v, %v", by, ok)
			}
		}
		if busy == 0 {
			t.Error("a hundred calls are not too many")
		}
	})
}

// A relayed address is a separate kind, which a bootstrap list refuses.
func TestCircuitAddresses(t *testing.T) {
	n, err := New(Config{NoPortMapping: true})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	r, peer := wire.PeerID(routing.KeyOf("relay")), wire.PeerID(routing.KeyOf("peer"))
	circuit := wire.Circuit{Addr: wire.AddrFrom(host(1)), Relay: r, Peer: peer}
	if id, err := n.AddAddr(circuit.Multiaddr()); err != nil || id != peer {
		t.Fatal(id, err)
	}
	if by := n.relays.RelaysOf(peer); !slices.Equal(by, []wire.PeerID{r}) || !n.knowsWhere(r) {
		t.Errorf("relays %v", by)
	}
	for _, bad := range []ma.Multiaddr{
		wire.Circuit{Relay: r, Peer: r}.Multiaddr(),
		ma.StringCast("/p2p/" + r.String() + "/p2p-circuit"),
		ma.StringCast("/p2p/" + r.String()),
	} {
		if id, err := n.AddAddr(bad); err == nil {
			t.Errorf("%s is learned: %s", bad, id)
		}
	}
	if _, err := New(Config{Bootstrap: []ma.Multiaddr{circuit.Multiaddr()}}); !errors.Is(err, wire.ErrAddr) {
		t.Errorf("bootstrap by a relay: %v", err)
	}
}

// A file goes through a relay nearly as fast as a relay lets two peers send, and
// is never cut off.
func TestBulkThroughARelay(t *testing.T) {
	inSwarm(t, 6, simnet.Options{Delay: 40 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		alice, bob := s.nodes[0], s.relayed()
		ln, err := bob.Listen("/bulk")
		if err != nil {
			t.Fatal(err)
		}
		c, r := s.through(alice, bob)
		out, err := c.OpenStream(within(t, time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		const size = 4 << 20
		go func() {
			out.Write(wire.AppendStreamHeader(nil, "/bulk"))
			out.Write(make([]byte, size))
			out.CloseWrite()
		}()
		in, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		got, err := io.Copy(io.Discard, in)
		took := time.Since(began)
		speed := int(float64(got) / took.Seconds())
		t.Logf("%d KiB/s, granted are %d; %+v", speed>>10, r.relay.Rate()>>10, r.Stats().Relay)
		if err != nil || got != size {
			t.Fatalf("%d bytes came, %v", got, err)
		}
		if speed < r.relay.Rate()*3/4 || speed > r.relay.Rate()*9/8 {
			t.Errorf("%d bytes a second", speed)
		}
	})
}

// A peer that did not answer a request for a reservation is asked again a minute later, sooner
// than peers that have refused.
func TestASilentRelayIsAskedAgain(t *testing.T) {
	inSwarm(t, 2, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		var asked atomic.Int32
		s.stranger(0).join(s.nodes[0], func(_ wire.PeerID, m wire.Message) wire.Message {
			switch m.(type) {
			case wire.Ping:
				return wire.Pong{}
			case wire.FindNode:
				return wire.Nodes{}
			case wire.Reserve:
				if asked.Add(1) == 1 {
					return nil
				}
				return wire.Reserved{Lifetime: time.Hour, Rate: 1 << 20}
			}
			return wire.Error{Code: wire.CodeUnimplemented}
		})
		bob := s.add(Config{Mode: ModeClient})
		if _, err := bob.Listen("/test"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Minute)
		if got := bob.Relays(); len(got) != wantRelays {
			t.Errorf("%d relays; the third was asked %d times", len(got), asked.Load())
		}
	})
}
