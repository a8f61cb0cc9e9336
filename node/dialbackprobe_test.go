package node

import (
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/wire"
)

// A victim is a host that asked for nothing, and counts what it is sent.
type victim struct {
	at       netip.AddrPort
	got, put atomic.Int64
}

func newVictim(t *testing.T, n *simnet.Network, at netip.AddrPort, answers bool) *victim {
	v := &victim{at: at}
	socket := n.Listen(at)
	t.Cleanup(func() { socket.Close() })
	go func() {
		b := make([]byte, 2000)
		for {
			size, from, err := socket.ReadFrom(b)
			if err != nil {
				return
			}
			v.got.Add(int64(size))
			if answers {
				v.put.Add(int64(size))
				socket.WriteTo(b[:size], from)
			}
		}
	}()
	return v
}

func (v *victim) addr() wire.Addr { return wire.AddrFrom(v.at) }

// No peer can make a node send more bytes to a stranger than the peer sends itself, neither the node
// that is asked for a dial-back nor the third one that dials, whatever the answers are.
func TestDialBackNeverAmplifies(t *testing.T) {
	inAskingSwarm(t, 4, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, a *askers) {
		for i, c := range []struct {
			name    string
			peer    wire.PeerID // that a third is to dial
			padding int
			answers bool
			times   int
			pay     bool // the victim hears something
		}{
			{"own, unpaid", wire.PeerID{}, 0, false, 1, false},
			{"own, paid too little", wire.PeerID{}, wire.DialBytes - 1, false, 1, false},
			{"own, paid", wire.PeerID{}, wire.DialBytes, false, 1, true},
			{"own, paid, who answers with noise", wire.PeerID{}, wire.DialBytes, true, 1, true},
			{"another's, unpaid", idOf(testKey(77)), 0, false, 1, false},
			{"another's, paid", idOf(testKey(77)), wire.DialBytes, false, 1, true},
			{"many, paid", wire.PeerID{}, wire.DialBytes, false, 60, true},
		} {
			v := newVictim(t, a.net, host(2000+i), c.answers)
			x := a.stranger(i)
			x.hello.Mode = wire.ModeClient
			k := x.meet(a.nodes[i%4])
			before := k.conn.Stats().BytesSent
			var last wire.Message
			for range c.times {
				k.asked++
				k.send(wire.Frame{ID: k.asked, Body: wire.DialBack{Addrs: []wire.Addr{v.addr()}, Peer: c.peer, Padding: c.padding}})
			}
			last = k.answer(1)
			time.Sleep(10 * time.Second)
			sent := int64(k.conn.Stats().BytesSent - before)
			got := v.got.Load() - v.put.Load()
			if got > sent || got > int64(c.times)*wire.DialBytes || c.pay != (v.got.Load() > 0) {
				t.Errorf("%s: %d bytes sent, %d arrive (and %d were answered): %#v", c.name, sent, got, v.put.Load(), last)
			}
			if d, ok := last.(wire.Dialled); ok != c.pay || ok && (d.Code != wire.CodeUnreachable || d.Addr != v.addr() || d.By.IsZero() || d.By == x.id) {
				t.Errorf("%s: the answer is %#v", c.name, last)
			}
			if most := int64(reach.AskerBurst+3) * wire.DialBytes; got > most {
				t.Errorf("%s: %d bytes arrive, of so many requests at most %d may", c.name, got, most)
			}
			t.Logf("%-34s %6d bytes sent, %5d arrive, %5d answered", c.name, sent, v.got.Load(), v.put.Load())
			k.conn.Close(wire.CloseNone, "")
		}
	})
}

// A dial-back is refused for addresses that may not be dialled, and by clients, private networks
// and nodes without suitable sockets.
func TestDialBackRefused(t *testing.T) {
	inAskingSwarm(t, 4, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, a *askers) {
		x := a.stranger(0)
		x.hello.Mode = wire.ModeClient
		k := x.meet(a.nodes[0])
		name, err := wire.AddrOf(ma.StringCast("/dns4/localhost/udp/4774/quic-v1"))
		if err != nil {
			t.Fatal(err)
		}
		at := func(s string) wire.Addr { return wire.AddrFrom(netip.MustParseAddrPort(s)) }
		other := idOf(testKey(77))
		for what, m := range map[string]wire.DialBack{
			"nothing":         {},
			"a name":          {Addrs: []wire.Addr{name}},
			"loopback":        {Addrs: []wire.Addr{at("127.0.0.1:4774")}},
			"a private one":   {Addrs: []wire.Addr{at("10.0.0.1:4774")}},
			"multicast":       {Addrs: []wire.Addr{at("224.0.0.251:5353")}},
			"NAT64":           {Addrs: []wire.Addr{at("[64:ff9b::a00:1]:4774")}},
			"the node's own":  {Addrs: []wire.Addr{wire.AddrFrom(host(0))}},
			"by itself":       {Addrs: []wire.Addr{wire.AddrFrom(x.at)}, Peer: x.id},
			"the node itself": {Addrs: []wire.Addr{wire.AddrFrom(x.at)}, Peer: a.nodes[0].ID()},
			"no IPv6 there":   {Addrs: []wire.Addr{at("[2600::1]:4774")}, Peer: other},
		} {
			m.Padding = wire.DialBytes
			if e, ok := k.ask(m).(wire.Error); !ok || e.Code != wire.CodeInvalid {
				t.Errorf("%s: %#v", what, e)
			}
		}
		if d, ok := k.ask(wire.DialBack{Addrs: []wire.Addr{wire.AddrFrom(x.at)}}).(wire.Dialled); !ok || d.Code != wire.CodeUnreachable {
			t.Errorf("its own, where it answers no HELLO: %#v", d)
		}
		simulated := a.testNetwork.add(Config{})
		client := a.add(Config{Mode: ModeClient})
		private := a.add(Config{Admit: func(wire.PeerID) error { return nil }})
		for what, n := range map[string]*Node{"simulated": simulated, "client": client, "private": private} {
			e, ok := x.meet(n).ask(wire.DialBack{Addrs: []wire.Addr{wire.AddrFrom(x.at)}}).(wire.Error)
			if !ok || e.Code != wire.CodeUnimplemented {
				t.Errorf("%s: %#v", what, e)
			}
		}
		time.Sleep(time.Hour)
		if r := private.Reachability(); r.Mode != ModeServer || private.Stats().Sent.DialBack > 0 {
			t.Errorf("private: %+v", r)
		}
	})
}

// A meteredConn sends one address as many bytes as were paid for and came from there.
func TestPurse(t *testing.T) {
	net1 := simnet.New(simnet.Options{})
	defer net1.Close()
	to, other := host(1), host(2)
	p := &meteredConn{PacketConn: net1.Listen(host(0)), to: to}
	p.left.Store(1000)
	far, third := net1.Listen(to), net1.Listen(other)
	send := func(size int, at netip.AddrPort) {
		if n, err := p.WriteTo(make([]byte, size), net.UDPAddrFromAddrPort(at)); n != size || err != nil {
			t.Fatalf("write: %d, %v", n, err)
		}
	}
	left := func(want int64) {
		t.Helper()
		if got := p.left.Load(); got != want {
			t.Errorf("%d left, want %d", got, want)
		}
	}
	send(100, other)
	left(1000)
	send(900, to)
	left(100)
	send(101, to)
	left(100)
	third.WriteTo(make([]byte, 500), net.UDPAddrFromAddrPort(host(0)))
	far.WriteTo(make([]byte, 30), net.UDPAddrFromAddrPort(host(0)))
	b := make([]byte, 2000)
	if n, from, err := p.ReadFrom(b); n != 30 || addrPortOf(from) != to || err != nil {
		t.Errorf("read %d from %v, %v", n, from, err)
	}
	left(130)
	p.Close()
}

// Close does not wait for dial-backs that are in progress.
func TestCloseEndsDialBack(t *testing.T) {
	inAskingSwarm(t, 3, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, a *askers) {
		x := a.stranger(0) // who takes connections and never says HELLO
		x.hello.Mode = wire.ModeClient
		k := x.meet(a.nodes[0])
		k.send(wire.Frame{ID: 1, Body: wire.DialBack{Addrs: []wire.Addr{wire.AddrFrom(x.at)}}})
		time.Sleep(time.Second)
		dialling := 0
		for _, n := range a.nodes {
			dialling += len(n.backs.probing)
			start := time.Now()
			n.Close()
			if took := time.Since(start); took > time.Second {
				t.Errorf("to close took %v", took)
			}
		}
		if dialling != 1 {
			t.Errorf("%d dialled", dialling)
		}
	})
}

// SPEC §5, HELLO: only dial_back marks a connection that tests an address, whatever its
// agent is called, and it counts only from a client.
func TestDialBackProbeIsMarkedInHello(t *testing.T) {
	const client, server = 2, 1
	for i, c := range []struct {
		name  string
		hello []byte
		peer  bool
	}{
		{"client", num(1, client), true},
		{"client whose agent is called dial-back", slices.Concat(num(1, client), blob(2, "dial-back")), true},
		{"client that tests an address", slices.Concat(num(1, client), num(6, 1)), false},
		{"client that does not", slices.Concat(num(1, client), num(6, 0)), true},
		{"server", slices.Concat(num(1, server), num(6, 1)), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			inSwarm(t, 1, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
				n, raw := s.nodes[0], s.rawPeer(i)
				k := raw.open(n)
				k.send(0, 2, c.hello)
				if _, typ, _, err := k.read(); err != nil || typ != 2 {
					t.Fatalf("the node's first frame is of type %d, %v", typ, err)
				}
				synctest.Wait()
				if known := len(n.peers.AppendAddrs(nil, raw.id, time.Now())) > 0; known != c.peer {
					t.Errorf("the node takes it for a peer: %v, want %v", known, c.peer)
				}
			})
		})
	}
}
