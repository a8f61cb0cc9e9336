package node

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/wire"
)

// A relay that invents calls uses up neither the share of the claimed caller, whose calls are
// signed, nor that of callers through other relays.
func TestARelayThatMakesUpCalls(t *testing.T) {
	inSwarm(t, 6, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		alice, bob := s.add(Config{Mode: ModeClient}), s.relayed()
		var relays []*Node // of Bob
		for _, id := range bob.relays.Relays() {
			for _, n := range s.nodes {
				if n.ID() == id {
					relays = append(relays, n)
				}
			}
		}
		liar, honest := relays[0], relays[1]
		l, err := liar.link(within(t, time.Minute), bob.ID())
		if err != nil {
			t.Fatal(err)
		}
		makeUp := func(peer wire.PeerID) error {
			m, _, err := l.rpc.Call(within(t, time.Minute), wire.Call{Peer: peer, Passed: true, Offer: []byte("I am Alice")})
			if e, ok := m.(wire.Error); ok {
				return e.Code
			}
			return err
		}
		for range 20 {
			if err := makeUp(alice.ID()); !errors.Is(err, wire.CodeUnreachable) {
				t.Fatalf("a call that is made up: %v", err)
			}
		}
		if err := alice.sessions.Call(within(t, time.Minute), bob.ID(), honest.ID(), func() {}); err != nil {
			t.Errorf("Alice herself: %v", err)
		}
		looked, start := 0, time.Now()
		for i := range 400 { // as fast as requests are answered
			if errors.Is(makeUp(wire.PeerID{1, byte(i >> 8), byte(i)}), wire.CodeUnreachable) {
				looked++
			}
		}
		if most := 81 + int(10*time.Since(start).Seconds()); looked > most || looked == 0 {
			t.Errorf("%d calls by one relay are looked at, want at most %d", looked, most)
		}
		if err := alice.sessions.Call(within(t, time.Minute), bob.ID(), honest.ID(), func() {}); err != nil {
			t.Errorf("Alice, meanwhile: %v", err)
		}
	})
}

// A node of two sockets is called by relays that it reaches from one of them: the
// connection is made at the other, where calls make paths.
func TestCalledAtTheSocketOfPaths(t *testing.T) {
	inSwarm(t, 0, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		six := func(i int) net.PacketConn {
			return s.net.Listen(netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x26, 1, 4: byte(i), 15: 1}), 4774))
		}
		first := s.add(Config{PacketConns: []net.PacketConn{six(0)}})
		through := []ma.Multiaddr{wire.JoinPeer(wire.AddrFrom(first.transports[0].LocalAddr()), first.ID())}
		add := func(m Mode, sockets ...net.PacketConn) *Node {
			return s.add(Config{Mode: m, PacketConns: sockets, Bootstrap: through})
		}
		for i := range 3 {
			add(ModeServer, six(1+i))
		}
		alice := add(ModeClient, six(10))
		bob := add(ModeClient, s.net.Listen(host(11)), six(11))
		echoes(t, bob)
		awaitThat(t, "bob has a reservation", func() bool { return len(bob.Relays()) > 0 })
		c, err := alice.Dial(within(t, time.Minute), bob.ID(), echoTest)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		said(t, c, "hello")
		got, ok := bob.pool.Lookup(publicKey(alice.ID()))
		if !ok || !got.Virtual() || got.Transport() != bob.callSocket() || bob.callSocket() != bob.transports[0] {
			t.Errorf("the connection is at %v, paths are made at %v", got.Transport().LocalAddr(), bob.callSocket().LocalAddr())
		}
	})
}
