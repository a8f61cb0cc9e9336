package field

import (
	"fmt"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/natlab"
)

// The path MTU is 1280 bytes, the minimum of IPv6, between all hosts and from them to a
// relay's host.
func TestSmallMTU(t *testing.T) {
	for name, kind := range map[string]natlab.Kind{"without a relay": natlab.Linux, "by relay": natlab.Symmetric} {
		t.Run(name, func(t *testing.T) {
			n := build(t, 3, natlab.Config{Link: natlab.Link{Delay: linkDelay, MTU: 1280}})
			k := n.two(n.Home("alice", kind), n.Home("bob", kind))
			if kind == natlab.Linux {
				k.goesBy("straight", straight)
			}
			var h haul
			if !holds(func() bool { // on a busy machine a path may be quiet for a moment
				k.caller.must(order{Do: "bulk", Peer: k.callee.ID, Bytes: 300_000}, &h)
				return straight(h.Path) == (kind == natlab.Linux)
			}) {
				t.Errorf("bytes went %s", h.Path)
			}
			t.Logf("300 kB took %v, %s", ms(h.Took), h.Path)
			k.ends("MTU 1280, " + name)
		})
	}
}

// 5 % of all packets from host to host are lost, with a relay and without.
func TestLoss(t *testing.T) {
	for name, kind := range map[string]natlab.Kind{"without a relay": natlab.Linux, "by relay": natlab.Symmetric} {
		t.Run(name, func(t *testing.T) {
			n := build(t, 3, natlab.Config{Link: natlab.Link{Delay: linkDelay, Loss: 0.025}}) // of each of two links
			k := n.two(n.Home("alice", kind), n.Home("bob", kind))
			if kind == natlab.Linux {
				k.goesBy("straight", straight)
			}
			k.goesOn(3 * time.Second)
			if caller, _ := k.end("5 % loss, " + name); caller.Dials != 1 {
				t.Errorf("it took %d streams: %q", caller.Dials, caller.Errs)
			}
		})
	}
}

// One peer has only IPv6, the other only IPv4: they connect through a relay.
func TestIPv6AgainstIPv4(t *testing.T) {
	n := build(t, 6, far)
	six, four := n.Home("six", natlab.IPv6Firewall), n.Home("four", natlab.Linux)
	peers := n.peers([]*natlab.Host{six, four}, setting{})
	for i, caller := range peers {
		callee := peers[1-i]
		caller.must(order{Do: "learn", Addrs: callee.ticket()}, nil)
		var c call
		caller.must(order{Do: "call", Peer: callee.ID, For: time.Second}, &c)
		if straight(c.Path) {
			t.Errorf("%s reaches %s %s", caller.Name(), callee.Name(), c.Path)
		}
		t.Logf("%s calls %s: connected after %v, %s", caller.Name(), callee.Name(), ms(c.Connected), c.Path)
		k := talks(t, caller, callee)
		k.ends(caller.Name() + " talks to " + callee.Name())
		caller.must(order{Do: "hang up", Peer: callee.ID}, nil)
		callee.must(order{Do: "hang up", Peer: caller.ID}, nil)
	}
}

// Two peers behind IPv6 firewalls need no relay.
func TestIPv6Firewalls(t *testing.T) {
	n := build(t, 3, far)
	k := n.two(n.Home("alice", natlab.IPv6Firewall), n.Home("bob", natlab.IPv6Firewall))
	k.goesBy("straight", straight)
	k.ends("IPv6 firewalls")
}

// Even with few public nodes, a peer behind an IPv6 firewall is soon reached through a relay.
// Unlike a NAT, such a firewall does not show in the peer's address.
func TestIPv6FirewallAmongFew(t *testing.T) {
	for nodes := 1; nodes <= 3; nodes++ {
		t.Run(fmt.Sprint(nodes), func(t *testing.T) {
			n := build(t, nodes, far)
			start := time.Now()
			six := n.peer(n.Home("six", natlab.IPv6Firewall), setting{})
			took := time.Since(start)
			t.Logf("of %d public nodes %d relay for it after %v", nodes, len(six.state().Relays), ms(took))
			if took > time.Minute {
				t.Errorf("it has a relay only after %v", ms(took))
			}
		})
	}
}
