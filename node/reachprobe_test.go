package node

import (
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/peerstore"
	"github.com/kadquic/kadquic/wire"
)

// Behind a NAT with endpoint-independent filtering a node becomes a server at its external address,
// behind others a client. It also decides where each peer sees it at another port.
func TestNATs(t *testing.T) {
	for name, c := range map[string]struct {
		filter  lets
		each    bool
		mode    Mode
		reach   Reach
		mapping Mapping
	}{
		"full cone":       {letsAnybody, false, ModeServer, ReachYes, MappingIndependent},
		"port-restricted": {letsPorts, false, ModeClient, ReachNo, MappingIndependent},
		"symmetric":       {letsPorts, true, ModeClient, ReachNo, MappingRandom},
	} {
		t.Run(name, func(t *testing.T) {
			inAskingSwarm(t, 5, simnet.Options{Delay: 40 * time.Millisecond}, func(t *testing.T, a *askers) {
				n, _ := a.behind(Config{}, c.filter, c.each)
				await(t, 10*time.Second, c.mode.String(), func() bool {
					r := n.Reachability()
					return r.Mode == c.mode && r.Reach() == c.reach
				})
				r := n.Reachability()
				if r.IPv4.Mapping != c.mapping || r.IPv4.Outside != host(5).Addr() {
					t.Errorf("it says %+v", r.IPv4)
				}
				time.Sleep(3 * time.Hour)
				if r := n.Reachability(); r.Mode != c.mode {
					t.Errorf("three hours later: %+v", r)
				}
				if known := a.knownBy(n); (c.mode == ModeServer) != (known == 5) {
					t.Errorf("%d have it in their tables", known)
				}
				if c.mode == ModeServer { // idle, and seen at its address still
					if own := reachOf(n, host(5)); own.Votes < reach.MinVotes || !own.Told {
						t.Errorf("three hours later: %+v", own)
					}
				}
			})
		})
	}
}

// One liar, as the asked peer or the third one, turns no server into a client within three hours (ten
// with -life.long).
func TestOneLiarIsNotBelieved(t *testing.T) {
	inAskingSwarm(t, 4, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, a *askers) {
		var lies atomic.Int32
		x := a.stranger(0)
		x.join(a.nodes[0], func(_ wire.PeerID, m wire.Message) wire.Message {
			switch m := m.(type) {
			case wire.DialBack:
				return wire.Dialled{Addr: m.Addrs[0], By: wire.PeerID{1, 2, byte(lies.Add(1))}, Code: wire.CodeUnreachable}
			case wire.Ping:
				return wire.Pong{}
			}
			return wire.Nodes{}
		})
		n := a.add(Config{})
		for range longOr(100, 30) {
			time.Sleep(6 * time.Minute)
			if r := n.Reachability(); r.Mode != ModeServer || r.Reach() == ReachNo {
				t.Fatalf("believed: %+v", r)
			}
			a.nodes[0].askAll(a.nodes[0].ctx, true)
		}
		if lies.Load() == 0 {
			t.Error("the liar was never asked")
		}
	})
}

// A liar that is the only peer of a public node, and also lies about its address, makes it a client
// only after thorough asking, and only until other peers are there. Before that, the lie looks
// like a firewall.
func TestALiarAloneIsBelievedForNow(t *testing.T) {
	for name, seen := range map[string]string{"IPv4": "77.7.7.7:77", "IPv6": "[2a00::7]:77"} {
		t.Run(name, func(t *testing.T) {
			inAskingSwarm(t, 2, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, a *askers) {
				var lies atomic.Int32
				x := a.stranger(0)
				x.hello.Observed = wire.AddrFrom(netip.MustParseAddrPort(seen))
				x.join(a.nodes[0], func(_ wire.PeerID, m wire.Message) wire.Message {
					switch m := m.(type) {
					case wire.DialBack:
						return wire.Dialled{Addr: m.Addrs[0], By: wire.PeerID{1, 2, byte(lies.Add(1))}, Code: wire.CodeUnreachable}
					case wire.Ping:
						return wire.Pong{}
					}
					return wire.Nodes{}
				})
				n := a.add(Config{Bootstrap: []ma.Multiaddr{wire.JoinPeer(wire.AddrFrom(x.at), x.id)}})
				time.Sleep(20 * time.Second)
				if r := n.Reachability(); r.Mode != ModeServer {
					t.Errorf("believed at once: %+v", r)
				}
				await(t, time.Minute, "a client", func() bool { return n.Reachability().Mode == ModeClient })
				for _, honest := range a.nodes[:2] {
					if _, err := n.Connect(within(t, time.Minute), honest.Addrs()[0]); err != nil {
						t.Fatal(err)
					}
				}
				await(t, 6*time.Minute, "a server", func() bool { return n.Reachability().Mode == ModeServer })
				for range 100 {
					time.Sleep(time.Minute)
					if r := n.Reachability(); r.Mode != ModeServer {
						t.Fatalf("with honest peers: %+v", r)
					}
				}
			})
		})
	}
}

// The claim of the router, and two inbound connections from contacted IPs, suffice for a mapped
// address.
func TestMappedAddressIsBelievedSooner(t *testing.T) {
	inAskingSwarm(t, 5, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, a *askers) {
		n, h := a.behind(Config{}, letsPorts, false)
		await(t, 10*time.Second, "a client", func() bool { return n.Reachability().Mode == ModeClient })
		// The router gives the inside's port a place outside, where all get in.
		mapped := netip.AddrPortFrom(host(5).Addr(), 999)
		forward(t, a.net, h, mapped)
		n.self.MappedTo(4774, mapped)
		n.reachProbe.poke()
		await(t, 5*time.Second, "a server", func() bool { return n.Reachability().Mode == ModeServer })
		if own := reachOf(n, mapped); own.Reach != ReachYes || !own.Told || !own.Mapped {
			t.Errorf("mapped: %+v", own)
		}
		if own := reachOf(n, host(5)); own.Told {
			t.Errorf("the address that nobody reaches is told: %+v", own)
		}
		n.self.MappedTo(4774, netip.AddrPort{})
		await(t, 10*time.Minute, "a client again", func() bool { return n.Reachability().Mode == ModeClient })
	})
}

// A router that loses its rules without a word is found out by peers: within six minutes
// the address counts as out of reach, and the node is a client. Peers that came in before
// do not speak for the router then.
func TestMappedAddressIsVerified(t *testing.T) {
	inAskingSwarm(t, 5, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, a *askers) {
		n, h := a.behind(Config{}, letsPorts, false)
		mapped := netip.AddrPortFrom(host(5).Addr(), 999)
		forward(t, a.net, h, mapped)
		n.self.MappedTo(4774, mapped)
		n.reachProbe.poke()
		await(t, time.Minute, "a server", func() bool { return reachOf(n, mapped).Reach == ReachYes && n.Reachability().Mode == ModeServer })
		time.Sleep(20 * time.Minute)
		h.mu.Lock()
		h.forwarded.Close()
		clear(h.by)
		h.mu.Unlock()
		at := time.Now()
		await(t, 6*time.Minute, "out of reach", func() bool { return reachOf(n, mapped).Reach == ReachNo })
		await(t, time.Minute, "a client", func() bool { return n.Reachability().Mode == ModeClient })
		t.Logf("a client %v after the router has lost the rule", time.Since(at).Round(time.Second))
		time.Sleep(time.Hour)
		if r := n.Reachability(); r.Mode != ModeClient || reachOf(n, mapped).Reach == ReachYes {
			t.Errorf("an hour later: %+v", r)
		}
	})
}

// forward hands all packets for an address to the home.
func forward(t *testing.T, net *simnet.Network, h *home, at netip.AddrPort) {
	socket := net.Listen(at)
	h.mu.Lock()
	h.forwarded = socket
	h.mu.Unlock()
	h.readers.Go(func() { h.readForwarded(socket) })
	t.Cleanup(func() { socket.Close() })
}

// Filters that an earlier life of a node has opened are open still.
func TestEarlierContactProvesNothing(t *testing.T) {
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		n, now := s.nodes[0], time.Now()
		add := func(i int, ago time.Duration) {
			n.peers.Add(idOf(testKey(i)), peerstore.SourceDialled, now.Add(-ago), 0, wire.AddrFrom(host(i)))
		}
		add(1, time.Minute)
		add(2, reach.FilterLife+time.Minute)
		n.sentBefore()
		for i, want := range []bool{1: true, 2: false, 3: false} {
			if ip, port := n.self.MarkContacted(host(i), now); ip != want || port != want {
				t.Errorf("to %d something was sent: %v, %v", i, ip, port)
			}
		}
	})
}

// Peers on a LAN and machines by themselves have nothing to find out.
func TestNetworkWithoutPublicNodes(t *testing.T) {
	inAskingSwarm(t, 0, simnet.Options{Delay: time.Millisecond}, func(t *testing.T, a *askers) {
		for i := range 5 {
			at := netip.AddrPortFrom(ipv4(192, 168, byte(i), 7), 4774)
			a.addAt(at)
		}
		time.Sleep(time.Hour)
		for i, n := range a.nodes {
			if r := n.Reachability(); r.Mode != ModeServer || r.Reach() != ReachUnknown || n.Stats().Sent.DialBack > 0 {
				t.Errorf("node %d: %+v, %d asked", i, r, n.Stats().Sent.DialBack)
			}
		}
	})
}

// Every state of an address is said in words.
func TestReachabilitySaysWhy(t *testing.T) {
	inAskingSwarm(t, 1, simnet.Options{}, func(t *testing.T, a *askers) {
		n, now := a.nodes[0], time.Now()
		public, private := reach.Candidate{At: host(0), Own: true}, reach.Candidate{At: netip.MustParseAddrPort("10.0.0.1:1")}
		mapped := reach.Candidate{At: host(0), Mapped: true}
		after := func(noes int, come ...reach.Entry) reach.Verdict {
			s := reach.New(reach.Config{})
			s.ListensOn(host(0))
			for i := range byte(noes) {
				s.DialFailed(host(0), wire.PeerID{1 + i}, reach.NetworkOf(ipv4(9, 0, i, 1)), now, now)
			}
			for _, e := range come {
				s.OnInbound(e, now)
			}
			return s.Verdict(host(0))
		}
		known := reach.Entry{From: ipv4(9, 9, 9, 9), At: host(0), Fresh: true}
		stranger := known
		stranger.Unsolicited = true
		said := make(map[string]bool)
		for _, why := range []string{
			n.whyReach(private, after(0), now), n.whyReach(public, after(0), now), n.whyReach(public, after(1), now),
			n.whyReach(public, after(2), now), n.whyReach(public, after(3), now), n.whyReach(public, after(0, stranger), now),
			n.whyReach(mapped, after(0, stranger), now), n.whyReach(public, after(0, known), now),
		} {
			if why == "" || said[why] {
				t.Errorf("%q is said twice, or nothing", why)
			}
			said[why] = true
		}
	})
}

// Of the peers in one IPv6 /48, one is asked.
func TestOneOfASiteIsAsked(t *testing.T) {
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		for i := range 6 {
			at := netip.AddrFrom16([16]byte{0x26, 1, 5: byte(i / 3), 7: byte(i), 15: 1}) // a /64 each
			x := s.strangerAt(10+i, netip.AddrPortFrom(at, 4774))
			x.hello.Mode = wire.ModeServer
			x.meet(s.nodes[0])
		}
		time.Sleep(time.Second)
		if ids := s.nodes[0].answerers(host(0), true); len(ids) != 2 {
			t.Errorf("%d are asked, of two /48", len(ids))
		}
	})
}
