package node

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// Addresses from a public peer and from a signed record pass the same filter. Names are not
// resolved, because they may resolve to any address.
func TestToldAddressesAreSifted(t *testing.T) {
	inSwarm(t, 2, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		n, x := s.nodes[0], s.stranger(0)
		name, err := wire.AddrOf(ma.StringCast("/dns4/localhost/udp/4774/quic-v1"))
		if err != nil {
			t.Fatal(err)
		}
		good := wire.AddrFrom(netip.MustParseAddrPort("9.9.9.9:1"))
		told := []wire.Addr{
			name,
			wire.AddrFrom(netip.MustParseAddrPort("127.0.0.1:1")),
			wire.AddrFrom(netip.MustParseAddrPort("10.0.0.1:1")),
			good,
			wire.AddrFrom(netip.MustParseAddrPort("[::1]:1")),
			wire.AddrFrom(netip.MustParseAddrPort("[64:ff9b::7f00:1]:1")),
		}
		n.learn(host(5).Addr(), wire.Contact{ID: x.id, Addrs: slices.Clone(told)}, time.Now())
		if got := n.peers.AppendAddrs(nil, x.id, time.Now()); !slices.Equal(got, []wire.Addr{good}) {
			t.Errorf("told: %v", got)
		}
		if got := n.dialable(told); !slices.Equal(got, []wire.Addr{good}) {
			t.Errorf("by a record: %v", got)
		}
	})
}

// A node announces an observed address only when two peers at different IPs see it there. A peer can
// neither vote for others nor use up the room.
func TestObservedAddressesNeedTwoObservers(t *testing.T) {
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		n := s.nodes[0]
		mapped := wire.AddrFrom(netip.MustParseAddrPort("93.184.216.34:1234"))
		says := func(addr wire.Addr) bool { return slices.Contains(n.addrs(), addr) }
		liar, honest := s.stranger(0), s.stranger(1)
		sameIP := s.strangerAt(2, netip.AddrPortFrom(strangerHost(1).Addr(), 5))

		k := liar.meet(n)
		for port := range uint16(100) { // all the room there is, and more
			made := wire.AddrFrom(netip.AddrPortFrom(netip.MustParseAddr("1.2.3.4"), 1+port))
			k.send(wire.Frame{Body: wire.Observed{Addr: made}})
		}
		for _, nowhere := range []string{"0.0.0.0:1", "127.0.0.1:1", "10.0.0.1:1", "224.0.0.1:1"} {
			k.send(wire.Frame{Body: wire.Observed{Addr: wire.AddrFrom(netip.MustParseAddrPort(nowhere))}})
		}
		k.ask(wire.Ping{})

		honest.hello.Observed = mapped
		honest.meet(n).ask(wire.Ping{})
		if says(mapped) {
			t.Error("one observer is believed")
		}
		sameIP.hello.Observed = mapped
		sameIP.meet(n).ask(wire.Ping{})
		if says(mapped) {
			t.Error("two peers at one IP are believed")
		}
		third := s.stranger(3).meet(n)
		third.send(wire.Frame{Body: wire.Observed{Addr: mapped}}) // later than HELLO
		third.ask(wire.Ping{})
		if !says(mapped) {
			t.Errorf("two observers are not: %v", n.Addrs())
		}
		if len(n.Addrs()) != 2 {
			t.Errorf("addresses: %v", n.Addrs())
		}
		time.Sleep(reach.RecheckAfter) // before any peer is found dead
		if info, err := n.ownRecord().Record.PeerInfo(); err != nil || !slices.Equal(info.Addrs, n.addrs()) {
			t.Errorf("the record says %v, %v", info.Addrs, err)
		}
	})
}

// The ancestor advertised 0.0.0.0. Ours, listening on every address, names those
// of the machine, with the real port, and no others.
func TestUnspecifiedIsNeverAdvertised(t *testing.T) {
	n, err := New(Config{Listen: []ma.Multiaddr{ma.StringCast("/ip4/0.0.0.0/udp/0/quic-v1")}, NoPortMapping: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if len(n.Addrs()) == 0 {
		t.Fatal("no address at all")
	}
	for _, m := range n.Addrs() {
		a, id, err := wire.SplitPeer(m)
		if err != nil || id != n.ID() {
			t.Fatalf("%s: %v", m, err)
		}
		if ap, ok := a.AddrPort(); !ok || ap.Addr().IsUnspecified() || ap.Port() == 0 {
			t.Errorf("advertised: %s", m)
		}
	}
	self, err := n.FindPeer(t.Context(), n.ID())
	if err != nil {
		t.Fatal(err)
	}
	info, err := self.Record.Record.PeerInfo()
	if err != nil || len(info.Addrs) != len(n.Addrs()) {
		t.Fatalf("the record says %v, %v", info.Addrs, err)
	}
	for _, a := range info.Addrs {
		if ap, ok := a.AddrPort(); !ok || ap.Addr().IsUnspecified() || ap.Port() == 0 {
			t.Errorf("in the record: %s", a)
		}
	}
	if wire.AddrFrom(netip.MustParseAddrPort("0.0.0.0:1")) != "" || wire.AddrFrom(netip.MustParseAddrPort("[::]:1")) != "" {
		t.Error("nowhere has an address")
	}
}

// Of one /24 at most two contacts enter a bucket, however many come: an attacker
// has many keys sooner than many networks. Private networks are exempt.
func TestContactsOfOneNetwork(t *testing.T) {
	inSwarm(t, 2, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		n := s.nodes[0]
		crowd := func(from int, network string) (in int) {
			first := netip.MustParseAddr(network).As4()
			for i := range 6 {
				first[3]++
				x := s.strangerAt(from+i, netip.AddrPortFrom(netip.AddrFrom4(first), 4774))
				x.meet(n).ask(wire.Ping{})
				in += n.hasPeer(x.id)
			}
			return in
		}
		if in := crowd(0, "44.1.1.0"); in != 2 {
			t.Errorf("%d contacts of one /24, want 2", in)
		}
		if in := crowd(10, "44.1.2.0"); in != 2 {
			t.Errorf("%d contacts of the next /24, want 2", in)
		}
		if in := crowd(20, "192.168.1.0"); in != 6 {
			t.Errorf("%d of 6 contacts of a private network", in)
		}
	})
}

// Over IPv6 all is the same.
func TestIPv6(t *testing.T) {
	inSwarm(t, 0, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		at := func(i int) netip.AddrPort {
			return netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x26, 0, byte(i), 15: 1}), 4774)
		}
		for i := range 4 {
			c := Config{PacketConns: []net.PacketConn{s.net.Listen(at(i))}, Bootstrap: []ma.Multiaddr{}}
			if i > 0 {
				c.Bootstrap = s.nodes[0].Addrs()
			}
			s.add(c)
		}
		key := routing.KeyOf("six")
		if stored := s.put(s.nodes[1], key, "x", PutOptions{}); stored.Count != 4 {
			t.Errorf("put: %v", stored)
		}
		s.wantGet(s.add(Config{Mode: ModeClient, PacketConns: []net.PacketConn{s.net.Listen(at(9))}, Bootstrap: s.nodes[2].Addrs()}), key, GetOptions{}, "x")
		if a := s.nodes[3].Addrs(); len(a) != 1 || !strings.HasPrefix(a[0].String(), "/ip6/2600:300::1/udp/4774/quic-v1/p2p/") {
			t.Errorf("addresses: %v", a)
		}
	})
}

// A bootstrap peer may be given by name.
func TestBootstrapByName(t *testing.T) {
	a, err := New(Config{Listen: loopback})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	name := ma.StringCast(fmt.Sprintf("/dns4/localhost/udp/%d/quic-v1/p2p/%s", a.self.Listening()[0].Port(), a.ID()))
	b, err := New(Config{Listen: loopback, Bootstrap: []ma.Multiaddr{name}})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.Start(t.Context()); err != nil {
		t.Errorf("start: %v", err)
	}
	if b.hasPeer(a.ID()) != 1 || a.hasPeer(b.ID()) != 1 {
		t.Errorf("peers: %v, %v", a.Peers(), b.Peers())
	}
}
