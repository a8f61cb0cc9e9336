package field

import (
	"fmt"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/natlab"
)

// One NAT chooses its ports at random, the other keeps a port. Either side calls. Each try
// has a new caller and so new mappings.
func TestRandomAgainstIndependent(t *testing.T) {
	tries := 8
	if *all {
		tries = 50
	}
	var pairs []pair
	for _, k := range []natlab.Kind{natlab.PortRestricted, natlab.Linux, natlab.LinuxOpen, natlab.Carrier} {
		pairs = append(pairs, pair{natlab.Symmetric, k}, pair{k, natlab.Symmetric})
	}
	if pairs = wanted(pairs); len(pairs) == 0 {
		t.Skip("no such pair")
	}
	n := build(t, 6, far)
	nats, callees := map[natlab.Kind]*natlab.NAT{}, map[natlab.Kind]*peer{}
	for _, p := range pairs {
		if nats[p.caller] == nil {
			nats[p.caller] = n.NAT(p.caller.String(), p.caller)
		}
		if callees[p.callee] == nil {
			callees[p.callee] = n.peer(n.Home(p.callee.String()+"-callee", p.callee), setting{})
		}
	}
	const batch = 8 // start; they call one after the other
	var callers []*peer
	var connected, toDirect times
	by := make([]times, len(pairs))
	for i := range tries {
		if i%batch == 0 {
			var hosts []*natlab.Host
			for k := i; k < min(i+batch, tries); k++ {
				hosts = append(hosts, n.Host(fmt.Sprintf("caller-%d", k), nats[pairs[k%len(pairs)].caller]))
			}
			callers = n.peers(hosts, setting{Client: true})
		}
		p := pairs[i%len(pairs)]
		caller, callee := callers[i%batch], callees[p.callee]
		caller.must(order{Do: "learn", Addrs: callee.ticket()}, nil)
		var c call
		caller.must(order{Do: "call", Peer: callee.ID, For: patience / 2}, &c)
		if !straight(c.Path) {
			t.Errorf("try %d, %v: by relay still after %v", i, p, patience/2)
			c.Direct = patience / 2
		}
		connected, toDirect = append(connected, c.Connected), append(toDirect, c.Direct)
		by[i%len(pairs)] = append(by[i%len(pairs)], c.Direct)
		caller.end()
	}
	for i, p := range pairs {
		t.Logf("%v: without a relay after %v: %v", p, by[i], by[i].sorted())
	}
	t.Logf("connected after %v; without a relay after %v", connected, toDirect)
	target(t, "to a path without a relay, median", toDirect.median(), 2*time.Second)
	target(t, "99 %", toDirect.quantile(0.99), 10*time.Second)
}
