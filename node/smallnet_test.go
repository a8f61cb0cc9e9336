package node

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/wire"
)

// A small network consists of one public node and some homes. The nodes at home are reached through
// the public node at once and soon become clients; nodes behind a firewall are reached likewise;
// public nodes are servers.
func TestSmallNetworks(t *testing.T) {
	const soon, few, never = 2 * time.Second, 6 * time.Second, 0
	for _, c := range []struct {
		name            string
		public          int
		nat             bool
		filter          lets
		each            bool
		relayed, client time.Duration // within
	}{
		{"port-restricted", 1, true, letsPorts, false, soon, few},
		{"port-restricted", 2, true, letsPorts, false, soon, few},
		{"port-restricted", 3, true, letsPorts, false, soon, time.Minute},
		{"symmetric", 1, true, letsPorts, true, soon, few},
		{"symmetric", 2, true, letsPorts, true, soon, few},
		{"symmetric", 3, true, letsPorts, true, soon, time.Minute},
		{"full cone", 1, true, letsAnybody, false, soon, time.Minute}, // until a stranger comes
		{"full cone", 2, true, letsAnybody, false, never, never},
		{"address-restricted", 1, true, letsAddresses, false, soon, time.Minute},
		{"address-restricted", 2, true, letsAddresses, false, soon, time.Minute},
		{"address-restricted", 3, true, letsAddresses, false, soon, time.Minute},
		{"address-restricted", 6, true, letsAddresses, false, soon, time.Minute},
		{"firewall", 1, false, letsPorts, false, few, time.Minute},
		{"firewall", 2, false, letsPorts, false, few, time.Minute},
		{"firewall", 3, false, letsPorts, false, time.Minute, time.Minute},
		{"public", 1, false, letsAnybody, false, never, never},
		{"public", 2, false, letsAnybody, false, never, never},
	} {
		t.Run(fmt.Sprintf("%s, %d", c.name, c.public), func(t *testing.T) {
			inAskingSwarm(t, c.public, simnet.Options{Delay: 40 * time.Millisecond}, func(t *testing.T, a *askers) {
				start := time.Now()
				var n *Node
				if c.nat {
					n, _ = a.behind(Config{}, c.filter, c.each)
				} else {
					n, _ = a.firewalled(Config{}, c.filter)
				}
				relayed := func() bool { return len(n.Relays()) > 0 }
				client := func() bool { return n.Reachability().Mode == ModeClient }
				if c.relayed > 0 {
					await(t, c.relayed, "a reservation", relayed)
				}
				at := time.Since(start)
				if c.client > 0 {
					await(t, c.client, "a client", client)
				}
				t.Logf("a reservation after %v, decided after %v", at, time.Since(start))
				for range 3 {
					time.Sleep(time.Hour)
					if relayed() != (c.relayed > 0) || client() != (c.client > 0) {
						t.Errorf("later: %d relays, %+v", len(n.Relays()), n.Reachability())
					}
				}
				for _, p := range a.nodes[:c.public] {
					if r := p.Reachability(); r.Mode != ModeServer || len(p.Relays()) > 0 {
						t.Errorf("a public node: %d relays, %+v", len(p.Relays()), r)
					}
				}
			})
		})
	}
}

// A node that became a client by a single report is a server again after a stranger connects.
func TestAClientByOneWordIsNoneForEver(t *testing.T) {
	inAskingSwarm(t, 1, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, a *askers) {
		n, h := a.behind(Config{}, letsPorts, false)
		await(t, 10*time.Second, "a client", func() bool { return n.Reachability().Mode == ModeClient })
		r := n.Reachability()
		if own := reachOf(n, host(1)); r.Reach() != ReachUnknown || own.Noes != 1 || own.Why == "" {
			t.Errorf("it says %+v", r)
		}
		h.opens(letsAnybody)
		x := a.stranger(0)
		x.hello = wire.Hello{Mode: wire.ModeClient, Observed: wire.AddrFrom(host(1))}
		x.meet(n)
		await(t, time.Second, "a server", func() bool { return n.Reachability().Mode == ModeServer })
		await(t, 2*time.Second, "its reservation is released", func() bool { return len(n.Relays()) == 0 })
	})
}

// A rented machine often has a private address to which a public one is translated. As the only
// public node of a network it is a server, and relays for the first peer that joins.
func TestATranslatedServerAlone(t *testing.T) {
	inAskingSwarm(t, 0, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, a *askers) {
		server, _ := a.behind(Config{}, letsAnybody, false)
		n, _ := a.behind(Config{}, letsPorts, false)
		await(t, 2*time.Second, "a reservation", func() bool { return len(n.Relays()) > 0 })
		await(t, 10*time.Second, "a client", func() bool { return n.Reachability().Mode == ModeClient })
		for range 3 {
			time.Sleep(time.Hour)
			if r := server.Reachability(); r.Mode != ModeServer || len(n.Relays()) != 1 || n.Reachability().Mode != ModeClient {
				t.Errorf("the server: %+v; %d relays", r, len(n.Relays()))
			}
		}
	})
}

// Where all public nodes stand at one hoster, in one /24, a node behind a NAT finds out
// what the NAT does, and that it is a client, all the same.
func TestPublicNodesOfOneNetwork(t *testing.T) {
	for _, c := range []struct {
		name    string
		each    bool
		mapping Mapping
	}{
		{"port-restricted", false, MappingIndependent},
		{"symmetric", true, MappingRandom},
	} {
		t.Run(c.name, func(t *testing.T) {
			inAskingSwarm(t, 0, simnet.Options{Delay: 40 * time.Millisecond}, func(t *testing.T, a *askers) {
				for i := range byte(3) {
					a.addAt(netip.AddrPortFrom(ipv4(25, 9, 9, 1+i), 4774))
				}
				n, _ := a.behind(Config{Bootstrap: a.nodes[0].Addrs()}, letsPorts, c.each)
				await(t, time.Minute, c.mapping.String(), func() bool { return n.Reachability().IPv4.Mapping == c.mapping })
				await(t, time.Minute, "a client", func() bool { return n.Reachability().Mode == ModeClient })
				await(t, time.Minute, "a relay", func() bool { return len(n.Relays()) > 0 })
				for range 4 { // idle, with the votes of its relays only
					time.Sleep(15 * time.Minute)
					if r := n.Reachability(); r.Mode != ModeClient {
						t.Errorf("later: %+v", r)
					}
					await(t, 2*time.Minute, c.mapping.String(), func() bool { return n.Reachability().IPv4.Mapping == c.mapping })
				}
				for _, p := range a.nodes[:3] {
					if r := p.Reachability(); r.Mode != ModeServer {
						t.Errorf("a public node: %+v", r)
					}
				}
			})
		})
	}
}
