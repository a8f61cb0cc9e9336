package node

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// "HELLO may be sent again when mode or record changes; the newest counts."
// (SPEC.md §5)
func TestHelloMayBeSentAgain(t *testing.T) {
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		n, x := s.nodes[0], s.stranger(0)
		k := x.meet(n)
		for _, c := range []struct {
			mode wire.Mode
			want int
		}{{wire.ModeClient, 0}, {wire.ModeServer, 1}, {wire.ModeServer, 1}, {wire.ModeClient, 0}} {
			k.send(wire.Frame{Body: wire.Hello{Mode: c.mode}})
			if _, ok := k.ask(wire.Ping{}).(wire.Pong); !ok {
				t.Fatal("the connection does not work any more")
			}
			if n.hasPeer(x.id) != c.want {
				t.Errorf("now a %v: %d times in the table", c.mode, n.hasPeer(x.id))
			}
		}
	})
}

// HELLOs are limited as requests are: those that come too thick are passed over.
func TestHelloByTheHundred(t *testing.T) {
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		n, x := s.nodes[0], s.stranger(0)
		k := x.meet(n)
		for range 250 {
			k.send(wire.Frame{Body: wire.Hello{Mode: wire.ModeServer}})
		}
		k.send(wire.Frame{Body: wire.Hello{Mode: wire.ModeClient}})
		time.Sleep(10 * time.Second)
		if n.hasPeer(x.id) != 1 {
			t.Error("the 251st HELLO at once was taken in")
		}
		k.send(wire.Frame{Body: wire.Hello{Mode: wire.ModeClient}})
		time.Sleep(time.Second)
		if n.hasPeer(x.id) != 0 {
			t.Error("one that came later was not")
		}
	})
}

// A server says where it is, under its signature; a client keeps that to
// itself.
func TestHelloTellsServersOnly(t *testing.T) {
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		x := s.stranger(0)
		hello := x.meet(s.nodes[0]).hello
		if r := hello.Record; r == nil || r.Verify(time.Now()) != nil || r.Record.Publisher != s.nodes[0].ID() {
			t.Errorf("a server's record: %+v", r)
		}
		if hello.Mode != wire.ModeServer || hello.Agent != "kadquic" || time.Until(hello.Clock).Abs() > time.Second ||
			hello.Observed != wire.AddrFrom(x.at) {
			t.Errorf("a server says %+v", hello)
		}
		client := s.add(Config{Mode: ModeClient, Agent: "test/1"})
		if hello := x.meet(client).hello; hello.Record != nil || hello.Mode != wire.ModeClient || hello.Agent != "test/1" {
			t.Errorf("a client says %+v", hello)
		}
	})
}

// What a peer says of itself in HELLO is believed when its signature has been
// looked at, and not before.
func TestHelloRecordsAreVerified(t *testing.T) {
	inSwarm(t, 2, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		x := s.stranger(0)
		value, err := wire.PeerInfo{Mode: wire.ModeServer, Addrs: []wire.Addr{wire.AddrFrom(x.at)}}.Value()
		if err != nil {
			t.Fatal(err)
		}
		record := func(seq uint64) *wire.Signed {
			return signed(t, 1000, wire.Record{Kind: wire.KindPeer, Seq: seq, Expiry: time.Now().Add(time.Hour), Value: value})
		}
		x.hello.Record = record(1)
		x.hello.Record.Signature[0] ^= 1
		k := x.join(s.nodes[0], func(wire.PeerID, wire.Message) wire.Message { return wire.Nodes{} })
		for _, n := range s.nodes {
			if p, err := n.FindPeer(within(t, time.Minute), x.id); err != nil || p.Record != nil {
				t.Errorf("found %+v, %v", p, err)
			}
		}
		k.send(wire.Frame{Body: wire.Hello{Mode: wire.ModeServer, Record: record(2)}})
		time.Sleep(time.Second)
		if p, err := s.nodes[0].FindPeer(within(t, time.Minute), x.id); err != nil || p.Record == nil || p.Mode != ModeServer {
			t.Errorf("found %+v, %v", p, err)
		}
	})
}

// Strangers that dial in have no vote on the clock, however many networks they are from: puts go
// on.
func TestStrangersHaveNoVoteOnTheClock(t *testing.T) {
	inSwarm(t, 2, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		n := s.nodes[0]
		for i := range 40 {
			x := s.strangerAt(i, netip.AddrPortFrom(netip.AddrFrom4([4]byte{40, byte(i), 1, 1}), 4774))
			x.hello.Clock = time.Now().Add(time.Hour)
			x.hello.Mode = wire.ModeClient
			x.meet(n)
		}
		if stored := s.put(n, routing.KeyOf("x"), "y", PutOptions{}); stored.Count != 2 {
			t.Errorf("%v", stored)
		}
		if err := n.clockFault(); err != nil {
			t.Error(err)
		}
	})
}

// A record ends at an absolute time. When holders refuse it for that reason, and the clocks of
// peers that this node has dialled differ, the error says that the clock may be wrong.
func TestPutByAWrongClock(t *testing.T) {
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		n := s.nodes[0]
		code := wire.CodeExpired
		s.stranger(0).join(n, func(_ wire.PeerID, m wire.Message) wire.Message {
			switch m.(type) {
			case wire.Store:
				return wire.Stored{Results: []wire.Code{code}}
			case wire.FindNode:
				return wire.Nodes{}
			}
			return wire.Pong{}
		})
		put := func(o PutOptions) error {
			_, err := n.Put(within(t, time.Minute), routing.KeyOf("x"), []byte("y"), &o)
			return err
		}
		const fault = "clock differs by 1h0m0s"
		if err := put(PutOptions{Quorum: 2}); err == nil || strings.Contains(err.Error(), fault) {
			t.Errorf("refused, and no clock differs: %v", err)
		}
		for i := range 4 {
			n.skew.observe(idOf(testKey(i)), netip.AddrFrom4([4]byte{40, byte(i), 1, 1}), time.Hour, time.Now())
		}
		if err := put(PutOptions{Quorum: 2}); err == nil || !strings.Contains(err.Error(), fault) || !errors.Is(err, ErrQuorum) && !errors.Is(err, ErrUnreachable) {
			t.Errorf("refused as expired: %v", err)
		}
		code = wire.CodeFull
		if err := put(PutOptions{Quorum: 2}); err == nil || strings.Contains(err.Error(), fault) {
			t.Errorf("refused for another reason: %v", err)
		}
		code = wire.CodeOK
		if err := put(PutOptions{Quorum: 2}); err != nil {
			t.Errorf("accepted: %v", err)
		}
	})
}

// A client answers no requests, so no node can join through it.
func TestJoinThroughAClientFails(t *testing.T) {
	inSwarm(t, 0, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		s.add(Config{Mode: ModeClient, Bootstrap: []ma.Multiaddr{}})
		n := s.make(Config{})
		err := n.Start(within(t, time.Minute))
		var berr *BootstrapError
		if !errors.As(err, &berr) || !strings.Contains(err.Error(), "client") {
			t.Errorf("start: %v", err)
		}
		if _, err := n.Connect(within(t, time.Minute), s.addrs(0)[0]); err != nil {
			t.Errorf("connect: %v", err)
		}
	})
}

// A bootstrap peer that says HELLO and nothing more is as good as none.
func TestABootstrapPeerThatAnswersNothing(t *testing.T) {
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		x := s.stranger(0)
		x.join(s.nodes[0], func(wire.PeerID, wire.Message) wire.Message { return nil })
		n := s.make(Config{Bootstrap: []ma.Multiaddr{wire.JoinPeer(wire.AddrFrom(x.at), x.id)}})
		err := n.Start(within(t, time.Minute))
		var berr *BootstrapError
		if !errors.As(err, &berr) || !errors.Is(err, ErrUnreachable) {
			t.Errorf("start: %v", err)
		}
		if err := n.running(); err != nil {
			t.Errorf("the node: %v", err)
		}
	})
}
