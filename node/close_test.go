package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"
	"go.uber.org/goleak"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// loopback is any free UDP port of this machine's.
var loopback = []ma.Multiaddr{ma.StringCast("/ip4/127.0.0.1/udp/0/quic-v1")}

// On real sockets: Close leaves no goroutine, and the ports free. This is the
// README's example, too.
func TestCloseLeavesNothing(t *testing.T) {
	before := goleak.IgnoreCurrent()
	ctx := t.Context()
	a, err := New(Config{Listen: loopback})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(ctx); err != nil {
		t.Fatal(err)
	}
	b, err := New(Config{Bootstrap: a.Addrs(), NoPortMapping: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if stored, err := b.Put(ctx, routing.KeyOf("hello"), []byte("world"), nil); err != nil || stored.Count != 2 {
		t.Errorf("put: %v, %v", stored, err)
	}
	if value, err := a.Get(ctx, routing.KeyOf("hello"), nil); err != nil || string(value.Data) != "world" {
		t.Errorf("get: %q, %v", value.Data, err)
	}
	var ports []string
	for _, n := range []*Node{a, b} {
		ports = append(ports, fmt.Sprintf(":%d", n.self.Listening()[0].Port()))
		if err := n.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if err := n.Close(); err != nil {
			t.Errorf("close again: %v", err)
		}
	}
	for _, port := range ports {
		socket, err := net.ListenPacket("udp", port)
		if err != nil {
			t.Errorf("the port is not free: %v", err)
			continue
		}
		socket.Close()
	}
	goleak.VerifyNone(t, before)
}

// Start opens all sockets or none.
func TestStartFailsWhole(t *testing.T) {
	taken, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	at := func(c net.PacketConn) ma.Multiaddr {
		return ma.StringCast(fmt.Sprintf("/ip4/127.0.0.1/udp/%d/quic-v1", c.LocalAddr().(*net.UDPAddr).Port))
	}
	n, err := New(Config{Listen: []ma.Multiaddr{at(free), at(taken)}})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(t.Context()); err == nil {
		t.Error("started on a port that is taken")
	}
	if err := n.running(); !errors.Is(err, ErrClosed) {
		t.Errorf("after a start that failed: %v", err)
	}
	if free, err = net.ListenPacket("udp", free.LocalAddr().String()); err != nil {
		t.Errorf("the other port is not free: %v", err)
	} else {
		free.Close()
	}
}

// A node that was never started closes the sockets it was given.
func TestCloseWithoutStart(t *testing.T) {
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n, err := New(Config{PacketConns: []net.PacketConn{socket}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Put(t.Context(), routing.KeyOf("x"), nil, nil); !errors.Is(err, ErrNotStarted) {
		t.Errorf("put before start: %v", err)
	}
	if err := n.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if _, err := socket.WriteTo([]byte("x"), socket.LocalAddr()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the socket after Close: %v", err)
	}
	if err := n.Start(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("start after close: %v", err)
	}
}

// everything is each operation that may take long.
func everything(n *Node, peer wire.PeerID, addr ma.Multiaddr) map[string]func(context.Context) error {
	key := routing.KeyOf("x")
	return map[string]func(context.Context) error{
		"put":       func(ctx context.Context) error { _, err := n.Put(ctx, routing.KeyOf("y"), nil, nil); return err },
		"get":       func(ctx context.Context) error { _, err := n.Get(ctx, key, nil); return err },
		"nearest":   func(ctx context.Context) error { _, err := n.Nearest(ctx, key); return err },
		"ping":      func(ctx context.Context) error { _, err := n.Ping(ctx, peer); return err },
		"ask":       func(ctx context.Context) error { _, err := n.FindNodeAt(ctx, peer, key); return err },
		"find peer": func(ctx context.Context) error { _, err := n.FindPeer(ctx, wire.PeerID{7}); return err },
		"dial":      func(ctx context.Context) error { _, err := n.Dial(ctx, wire.PeerID{7}, "/x"); return err },
		"connect":   func(ctx context.Context) error { _, err := n.Connect(ctx, addr); return err },
		"bootstrap": func(ctx context.Context) error { return n.Bootstrap(ctx, addr) },
		"values": func(ctx context.Context) (last error) {
			for _, err := range n.Values(ctx, key, nil) {
				last = err
			}
			return last
		},
	}
}

// What is under way when the node closes ends at once, with ErrClosed, and so
// does all that comes after. Nothing claims to have found nothing.
func TestOperationsEndWithTheNode(t *testing.T) {
	inSwarm(t, 3, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		n, peer := s.nodes[2], s.nodes[1].ID()
		addr := wire.JoinPeer(wire.AddrFrom(host(99)), wire.PeerID{9})
		n.ClosePeer(s.nodes[0].ID())
		n.ClosePeer(peer)
		s.net.Partition(hosts(2, 3))
		type ended struct {
			what string
			err  error
		}
		all := make(chan ended, 20)
		ops := everything(n, peer, addr)
		for what, op := range ops {
			go func() { all <- ended{what, op(context.Background())} }()
		}
		ln, err := n.Listen("/x")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			_, err := ln.Accept()
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("accept: %v", err)
			}
		}()
		time.Sleep(100 * time.Millisecond)
		start := time.Now()
		n.Close()
		for range ops {
			if e := <-all; !errors.Is(e.err, ErrClosed) {
				t.Errorf("%s under way: %v", e.what, e.err)
			}
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("it took %v to end them", took)
		}
		for what, op := range ops {
			if err := op(t.Context()); !errors.Is(err, ErrClosed) {
				t.Errorf("%s after close: %v", what, err)
			}
		}
		if _, err := n.Listen("/y"); !errors.Is(err, ErrClosed) {
			t.Errorf("listen after close: %v", err)
		}
	})
}

// An operation whose context ends returns the error of the context soon, and reports no peer as
// failed.
func TestOperationsEndWithTheirContext(t *testing.T) {
	inSwarm(t, 3, simnet.Options{Delay: 100 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		n, peer := s.nodes[2], s.nodes[1].ID()
		addr := wire.JoinPeer(wire.AddrFrom(host(99)), wire.PeerID{9})
		for what, op := range everything(n, peer, addr) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
			start := time.Now()
			err := op(ctx)
			if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took > 40*time.Millisecond {
				t.Errorf("%s: %v after %v", what, err, took)
			}
			cancel()
		}
		if n.marked() > 0 {
			t.Errorf("%d contacts marked", n.marked())
		}
	})
}

// A node that closes says goodbye to its peers. One that is killed does not.
func TestCloseSaysGoodbye(t *testing.T) {
	inSwarm(t, 4, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		n := s.nodes[0]
		left, killed := s.nodes[2].ID(), s.nodes[3].ID()
		s.nodes[2].Close()
		s.nodes[3].Kill()
		time.Sleep(time.Second)
		if n.hasPeer(left) > 0 || n.hasPeer(killed) != 1 {
			t.Errorf("peers: %v", n.Peers())
		}
		if _, err := n.Nearest(within(t, time.Minute), killed.Key()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if n.marked() != 1 {
			t.Error("the killed peer was not found out")
		}
	})
}

// Close ends a start that still looks for the network.
func TestCloseDuringStart(t *testing.T) {
	inSwarm(t, 0, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		n := s.make(Config{Bootstrap: []ma.Multiaddr{wire.JoinPeer(wire.AddrFrom(host(99)), wire.PeerID{9})}})
		ended := make(chan error)
		go func() { ended <- n.Start(context.Background()) }()
		time.Sleep(time.Second)
		start := time.Now()
		n.Close()
		if err := <-ended; !errors.Is(err, ErrClosed) {
			t.Errorf("start: %v", err)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("it took %v to end it", took)
		}
	})
}

// Start may be closed, and the node be used, while it opens its sockets.
func TestCloseRacesStart(t *testing.T) {
	for range 20 {
		n, err := New(Config{Listen: loopback})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := n.Start(t.Context()); err != nil && !errors.Is(err, ErrClosed) {
				t.Errorf("start: %v", err)
			}
		})
		wg.Go(func() {
			n.Addrs()
			n.Connect(t.Context(), wire.JoinPeer(wire.AddrFrom(netip.MustParseAddrPort("127.0.0.1:9")), wire.PeerID{9}))
		})
		wg.Go(func() { n.Close() })
		wg.Wait()
		if len(n.transports) > 0 && n.transports[0].LocalAddr().IsValid() {
			socket, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(n.transports[0].LocalAddr()))
			if err != nil {
				t.Fatalf("the port is not free: %v", err)
			}
			socket.Close()
		}
	}
}
