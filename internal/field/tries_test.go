package field

import (
	"fmt"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/natlab"
)

// A NAT that chooses its ports at random, and one that keeps to a port: each try is a
// new caller, and so are the mappings. Not among them is natlab's LinuxOpen, which a
// packet spoils that comes before its own: a search among ports sends many such.
func TestRandomAgainstIndependent(t *testing.T) {
	tries := 5
	if *all {
		tries = 50
	}
	n := build(t, 6, far)
	easy := []natlab.Kind{natlab.PortRestricted, natlab.Linux, natlab.Carrier}
	var hosts []*natlab.Host
	for _, k := range easy {
		hosts = append(hosts, n.Home(k.String(), k))
	}
	callees := n.peers(hosts, setting{})
	symmetric := n.NAT("symmetric", natlab.Symmetric)
	const batch = 5 // start; they call one after the other
	var callers []*peer
	var connected, toDirect times
	for i := range tries {
		if i%batch == 0 {
			hosts = nil
			for k := range batch {
				hosts = append(hosts, n.Host(fmt.Sprintf("caller-%d", i+k), symmetric))
			}
			callers = n.peers(hosts, setting{Client: true})
		}
		caller, callee := callers[i%batch], callees[i%len(callees)]
		caller.must(order{Do: "learn", Addrs: callee.ticket()}, nil)
		var c call
		caller.must(order{Do: "call", Peer: callee.ID, For: patience / 2}, &c)
		if !straight(c.Path) {
			t.Errorf("try %d, to %s: by relay still after %v", i, callee.Name(), patience/2)
			c.Direct = patience / 2
		}
		connected, toDirect = append(connected, c.Connected), append(toDirect, c.Direct)
		caller.end()
	}
	t.Logf("connected after %v; without a relay after %v: %v", connected, toDirect, toDirect.sorted())
	target(t, "to a path without a relay, median", toDirect.median(), 2*time.Second)
	target(t, "99 %", toDirect.quantile(0.99), 10*time.Second)
}
