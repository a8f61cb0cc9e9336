package node

import (
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/wire"
)

// freshPorts gives the simulated sockets of a swarm's nodes other ports.
type freshPorts struct {
	net  *simnet.Network
	next atomic.Uint32
}

func (f *freshPorts) listen(local netip.Addr) (net.PacketConn, error) {
	return f.net.Listen(netip.AddrPortFrom(local, uint16(40000+f.next.Add(1)))), nil
}

// inAskingSwarm is inSwarm for nodes that ask others to dial back, and do it.
func inAskingSwarm(t *testing.T, n int, o simnet.Options, test func(*testing.T, *askers)) {
	inSwarm(t, 0, o, func(t *testing.T, s *testNetwork) {
		a := &askers{testNetwork: s, fresh: &freshPorts{net: s.net}}
		for range n {
			a.add(Config{})
		}
		test(t, a)
	})
}

type askers struct {
	*testNetwork
	fresh *freshPorts
}

func (a *askers) add(c Config) *Node {
	a.t.Helper()
	n := a.make(c)
	n.fresh = a.fresh.listen
	if err := n.Start(within(a.t, time.Minute)); err != nil {
		a.t.Fatal(err)
	}
	return n
}

// behind adds a node in a home.
func (a *askers) behind(c Config, filter lets, each bool) (*Node, *home) {
	a.t.Helper()
	i := len(a.nodes)
	h := newHome(a.net, netip.MustParseAddrPort("192.168.1.7:4774"), host(i), filter, each)
	c.PacketConns = []net.PacketConn{h}
	n := a.make(c)
	n.fresh = func(netip.Addr) (net.PacketConn, error) { return a.fresh.listen(host(i).Addr()) }
	if err := n.Start(within(a.t, time.Minute)); err != nil {
		a.t.Fatal(err)
	}
	return n, h
}

// addAt adds a node at an address.
func (a *askers) addAt(at netip.AddrPort) {
	a.t.Helper()
	c := Config{PacketConns: []net.PacketConn{a.net.Listen(at)}, Bootstrap: []ma.Multiaddr{}}
	if len(a.nodes) > 0 {
		c.Bootstrap = a.nodes[0].Addrs()
	}
	a.add(c)
}

// firewalled adds a node with a public address behind a filter.
func (a *askers) firewalled(c Config, filter lets) (*Node, *home) {
	a.t.Helper()
	at := host(len(a.nodes))
	h := newHome(a.net, at, at, filter, false)
	c.PacketConns = []net.PacketConn{h}
	return a.add(c), h
}

func (a *askers) knownBy(n *Node) (count int) {
	for _, other := range a.nodes {
		if other != n {
			count += other.hasPeer(n.ID())
		}
	}
	return count
}

// await waits in virtual time.
func await(t *testing.T, limit time.Duration, what string, cond func() bool) {
	t.Helper()
	start := time.Now()
	for !cond() {
		if time.Since(start) > limit {
			t.Fatalf("not within %v: %s", limit, what)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// A node that joins learns at once that it is reachable, although a second later it has contacted
// every peer.
func TestAServerIsFoundReachable(t *testing.T) {
	inAskingSwarm(t, 5, simnet.Options{Delay: 40 * time.Millisecond}, func(t *testing.T, a *askers) {
		start := time.Now()
		n := a.add(Config{})
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("to join took %v", took)
		}
		if own := reachOf(n, host(5)); own.Reach != ReachYes || !own.Told {
			t.Errorf("its address: %+v", own)
		}
		r := n.Reachability()
		if r.Mode != ModeServer || r.Told || r.Reach() != ReachYes {
			t.Errorf("it says %+v", r)
		}
		for _, m := range a.nodes {
			for _, p := range m.Peers() {
				if !slices.ContainsFunc(a.nodes, func(o *Node) bool { return o.ID() == p.ID }) {
					t.Error("who dialled back has become a contact")
				}
			}
			if m.Stats().Known > 6 {
				t.Errorf("who dialled back is remembered: %d are known", m.Stats().Known)
			}
		}
	})
}

// A firewall admits only peers that the node has sent to. Others report failures, and the node is a
// client a few seconds after it has joined. Without the firewall it is a server again.
func TestAFirewalledNodeIsAClient(t *testing.T) {
	inAskingSwarm(t, 5, simnet.Options{Delay: 40 * time.Millisecond}, func(t *testing.T, a *askers) {
		var events []string
		trace := &Trace{Reach: func(e ReachEvent) { events = append(events, e.String()) }}
		start := time.Now()
		n, h := a.firewalled(Config{Trace: trace}, letsPorts)
		if n.Reachability().Mode != ModeServer {
			t.Error("a client before anybody can have said so")
		}
		await(t, 10*time.Second, "a client", func() bool { return n.Reachability().Mode == ModeClient })
		t.Logf("a client after %v", time.Since(start))
		time.Sleep(time.Second)
		if known := a.knownBy(n); known != 0 {
			t.Errorf("%d have it in their tables", known)
		}
		r := n.Reachability()
		own := reachOf(n, host(5))
		if own.Reach != ReachNo || own.Noes != 3 || r.Why == "" || r.Reach() != ReachNo || r.IPv4.Mapping != MappingNone {
			t.Errorf("it says %+v", r)
		}
		if info, err := n.ownRecord().Record.PeerInfo(); err != nil || info.Mode != wire.ModeClient {
			t.Errorf("its record says %+v, %v", info, err)
		}
		if len(events) < 2 {
			t.Errorf("traced: %q", events)
		}
		time.Sleep(time.Hour)
		if n.Reachability().Mode != ModeClient || a.knownBy(n) > 0 {
			t.Error("it is a server an hour later")
		}
		h.opens(letsAnybody)
		await(t, 4*time.Hour, "a server again", func() bool { return n.Reachability().Mode == ModeServer })
		await(t, time.Minute, "in the tables again", func() bool { return a.knownBy(n) == 5 })
		if info, err := n.ownRecord().Record.PeerInfo(); err != nil || info.Mode != wire.ModeServer {
			t.Errorf("its record says %+v, %v", info, err)
		}
	})
}

// A filter that is open to every IP that the node has sent to proves nothing: in a
// network of which it has met all, it waits until there are strangers.
func TestFilterIsOpenToContactedPeers(t *testing.T) {
	inAskingSwarm(t, 5, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, a *askers) {
		n, _ := a.firewalled(Config{}, letsAddresses)
		time.Sleep(5 * time.Second)
		if own := reachOf(n, host(5)); own.Reach == ReachYes {
			t.Errorf("reached by those it has called: %+v", own)
		}
		await(t, 12*time.Hour, "a client, once those it called are forgotten", func() bool { return n.Reachability().Mode == ModeClient })
	})
}

// A configured mode never changes. A configured server asks for dial-backs all the same.
func TestModesThatWereGivenStay(t *testing.T) {
	inAskingSwarm(t, 5, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, a *askers) {
		server, _ := a.firewalled(Config{Mode: ModeServer}, letsPorts)
		client := a.add(Config{Mode: ModeClient})
		time.Sleep(time.Hour)
		if r := server.Reachability(); r.Mode != ModeServer || !r.Told || r.Reach() != ReachNo {
			t.Errorf("told to serve: %+v", r)
		}
		if r := client.Reachability(); r.Mode != ModeClient || !r.Told || client.Stats().Sent.DialBack > 0 {
			t.Errorf("told to be a client: %+v", r)
		}
	})
}

// Where there are not three to ask, nothing is certain. A node that none of those reaches
// is a client all the same, and the others serve.
func TestFewPeersDecideForNow(t *testing.T) {
	inAskingSwarm(t, 1, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, a *askers) {
		n, _ := a.firewalled(Config{}, letsPorts)
		for range 2 {
			time.Sleep(time.Hour)
			for i, n := range a.nodes {
				if r := n.Reachability(); (r.Mode == ModeClient) != (i == 1) || i == 1 && r.Reach() != ReachUnknown {
					t.Errorf("node %d of %d: %+v", i, len(a.nodes), r)
				}
			}
			a.add(Config{})
		}
		a.add(Config{})
		await(t, 3*time.Hour, "certainty among four", func() bool { return n.Reachability().Reach() == ReachNo })
		if r := n.Reachability(); r.Mode != ModeClient {
			t.Errorf("among four: %+v", r)
		}
	})
}
