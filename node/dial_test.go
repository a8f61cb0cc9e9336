package node

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// marked counts the contacts of n's table that are held not to answer.
func (n *Node) marked() (sum int) {
	for _, b := range n.Table() {
		sum += b.Marked
	}
	return sum
}

// Two peers that dial each other at once end with one connection, and neither
// blames the other for the dial that was given up.
func TestSimultaneousDialsReportNoFailure(t *testing.T) {
	inSwarm(t, 6, simnet.Options{Delay: 20 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		for _, n := range s.nodes {
			for _, m := range s.nodes {
				n.ClosePeer(m.ID())
			}
		}
		time.Sleep(time.Second)
		done := make(chan error)
		for _, n := range s.nodes {
			for _, m := range s.nodes {
				if n != m {
					go func() {
						_, err := n.Ping(within(t, time.Minute), m.ID())
						done <- err
					}()
				}
			}
		}
		for range 30 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		time.Sleep(5 * time.Second)
		for i, n := range s.nodes {
			if marked := n.marked(); marked > 0 {
				t.Errorf("node %d holds %d live peers for dead", i, marked)
			}
			if c := n.Stats().Connections; c != 5 {
				t.Errorf("node %d: %d connections to 5 peers", i, c)
			}
			for _, m := range s.nodes {
				if err := n.backoff.Check(m.ID(), time.Now()); err != nil {
					t.Errorf("node %d: %v", i, err)
				}
			}
		}
	})
}

// Another peer at the address dialled, and a peer of another network, are
// errors that can be told apart from silence.
func TestWrongPeerAndWrongNetwork(t *testing.T) {
	inSwarm(t, 2, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		n := s.nodes[0]
		wrong := wire.JoinPeer(wire.AddrFrom(host(1)), s.stranger(0).id)
		if _, err := n.Connect(within(t, time.Minute), wrong); !errors.Is(err, ErrWrongPeer) || !errors.Is(err, ErrUnreachable) {
			t.Errorf("connect to the wrong peer: %v", err)
		}

		other := s.make(Config{Network: "another", Bootstrap: s.addrs(0)})
		err := other.Start(within(t, time.Minute))
		var berr *BootstrapError
		if !errors.Is(err, ErrWrongNetwork) || !errors.As(err, &berr) {
			t.Errorf("start in another network: %v", err)
		}
		if n.hasPeer(other.ID()) > 0 || other.hasPeer(n.ID()) > 0 {
			t.Error("the two networks have mixed")
		}
	})
}

// Admit refuses strangers, no matter which side dials.
func TestAdmit(t *testing.T) {
	inSwarm(t, 1, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		friend := idOf(testKey(2))
		private := s.make(Config{Bootstrap: []ma.Multiaddr{}, Admit: func(id wire.PeerID) error {
			if id == friend {
				return nil
			}
			return errors.New("who are you?")
		}})
		if err := private.Start(within(t, time.Minute)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.nodes[0].Connect(within(t, time.Minute), s.addrs(1)[0]); !errors.Is(err, quic.ErrRefused) {
			t.Errorf("a stranger connects: %v", err)
		}
		if _, err := private.Connect(within(t, time.Minute), s.addrs(0)[0]); err == nil {
			t.Error("a stranger was dialled and let in")
		}
		s.add(Config{Bootstrap: s.addrs(1)})
		if private.hasPeer(friend) != 1 || private.Stats().Peers != 1 {
			t.Errorf("peers: %v", private.Peers())
		}
	})
}

// A peer that refuses our HELLO is left alone for a while, and is no contact:
// every lookup would try it again.
func TestARefusingPeerIsLeftAlone(t *testing.T) {
	inSwarm(t, 2, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		n := s.nodes[0]
		x := s.stranger(0)
		k := x.meet(n) // a contact now
		k.ask(wire.Ping{})
		k.conn.Close(wire.CloseNone, "")
		dials := make(chan int, 1)
		go func() {
			count := 0
			defer func() { dials <- count }()
			for {
				c, err := x.Accept(t.Context())
				if err != nil {
					return
				}
				count++
				c.Close(wire.CloseRefused, "")
			}
		}()
		for range 20 {
			if _, err := n.Nearest(within(t, time.Minute), routing.KeyOf("x")); err != nil {
				t.Fatal(err)
			}
		}
		x.Transport.Close()
		if count := <-dials; count != 1 {
			t.Errorf("20 lookups dialled it %d times", count)
		}
		if n.marked() != 1 {
			t.Errorf("%d contacts marked, want the one that refuses", n.marked())
		}
	})
}

// A peer that has moved is found at its new address, at the first try.
func TestAPeerThatMovedIsFound(t *testing.T) {
	inSwarm(t, 4, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		n, mover := s.add(Config{Mode: ModeClient}), s.nodes[3]
		if _, err := n.Ping(within(t, time.Minute), mover.ID()); err != nil {
			t.Fatal(err)
		}
		mover.Kill()
		again, err := New(Config{Key: testKey(3), PacketConns: []net.PacketConn{s.net.Listen(host(300))}, Bootstrap: s.addrs(0)})
		if err != nil {
			t.Fatal(err)
		}
		defer again.Close()
		if err := again.Start(within(t, time.Minute)); err != nil {
			t.Fatal(err)
		}
		// n is a client and gets no notice: it still has the old address of the peer.
		n.ClosePeer(mover.ID())
		if c, err := n.Dial(within(t, time.Minute), mover.ID(), "/x"); err != nil {
			t.Errorf("dial: %v", err)
		} else {
			c.Close()
		}
	})
}

// A peer without a known address has not failed, because another peer may know one. Neither has a
// peer whose dial was given up because its own dial arrived first.
func TestAbandonedDialsReportNoFailure(t *testing.T) {
	inSwarm(t, 2, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		n, x := s.nodes[0], s.stranger(0)
		if _, err := n.link(within(t, time.Minute), x.id); !errors.Is(err, ErrUnreachable) {
			t.Errorf("link to nowhere: %v", err)
		}
		if err := n.backoff.Check(x.id, time.Now()); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := n.dial(ctx, quic.PublicKey(s.nodes[1].ID())); !errors.Is(err, context.Canceled) {
			t.Errorf("a dial given up: %v", err)
		}
		if err := n.backoff.Check(s.nodes[1].ID(), time.Now()); err != nil || n.marked() > 0 {
			t.Errorf("%v; %d contacts marked", err, n.marked())
		}
	})
}

// A node whose contacts have all gone silent turns to its bootstrap list, also
// to peers of it that were never up before.
func TestALonelyNodeRejoins(t *testing.T) {
	inSwarm(t, 1, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		late := wire.JoinPeer(wire.AddrFrom(host(2)), idOf(testKey(2)))
		n := s.make(Config{Bootstrap: []ma.Multiaddr{s.addrs(0)[0], late}})
		if err := n.Start(within(t, time.Minute)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		s.kill(0)
		if _, err := n.Nearest(within(t, time.Minute), routing.KeyOf("x")); err == nil && n.marked() == 0 {
			t.Fatal("the dead peer was not missed")
		}
		if err := s.make(Config{Bootstrap: []ma.Multiaddr{}}).Start(within(t, time.Minute)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Minute)
		if n.hasPeer(idOf(testKey(2))) != 1 {
			t.Errorf("three minutes later its peers are %v", n.Peers())
		}
	})
}

// What we know of a peer's whereabouts ends, unless it is connected.
func TestAddressesExpire(t *testing.T) {
	inSwarm(t, 2, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		n, x := s.nodes[0], s.stranger(0)
		x.hello.Mode = wire.ModeClient
		x.meet(n).conn.Close(wire.CloseNone, "")
		ln, err := s.nodes[1].Listen("/x")
		if err != nil {
			t.Fatal(err)
		}
		c, err := n.Dial(within(t, time.Minute), s.nodes[1].ID(), "/x") // holds the connection
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		defer ln.Close()
		time.Sleep(26 * time.Hour)
		if _, known := n.peers.Peer(x.id); known {
			t.Error("a client met a day ago is remembered still")
		}
		if addrs := n.peers.AppendVerified(nil, s.nodes[1].ID()); len(addrs) != 1 {
			t.Errorf("addresses of a connected peer: %v", addrs)
		}
	})
}

// A contact that refuses a ping is alive.
func TestABusyContactIsAlive(t *testing.T) {
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		n, x := s.nodes[0], s.stranger(0)
		x.join(n, func(wire.PeerID, wire.Message) wire.Message { return wire.Error{Code: wire.CodeBusy} })
		n.probe(x.id)
		time.Sleep(time.Minute)
		if n.marked() > 0 {
			t.Error("the contact is held to be dead")
		}
		if _, err := n.Ping(within(t, time.Minute), x.id); !errors.Is(err, ErrBusy) {
			t.Errorf("ping: %v", err)
		}
	})
}

// A silent peer is reported as failed even if the operation no longer waits for it. An operation
// that ends early reports no peer.
func TestSilentStrangerIsFoundOut(t *testing.T) {
	inSwarm(t, 2, simnet.Options{Delay: 20 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		n, gone, slow := s.nodes[0], s.nodes[1], s.add(Config{Mode: ModeClient})
		n.ClosePeer(gone.ID())
		n.ClosePeer(slow.ID())
		time.Sleep(time.Second)
		s.net.Kill(host(1))
		slowAt, goneAt := s.addrs(2)[0], s.addrs(1)[0]
		for _, at := range []ma.Multiaddr{slowAt, goneAt} {
			if _, err := n.Connect(within(t, 10*time.Millisecond), at); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("connect in 10 ms: %v", err)
			}
		}
		time.Sleep(dialLinger)
		if err := n.backoff.Check(slow.ID(), time.Now()); err != nil {
			t.Errorf("a peer that took its time: %v", err)
		}
		if n.backoff.Check(gone.ID(), time.Now()) == nil {
			t.Error("a peer that is silent is held for alive")
		}
	})
}
