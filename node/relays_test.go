package node

import (
	"testing"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// Calling strangers do not displace the routes of connections.
func TestRoutesOfConnectionsStay(t *testing.T) {
	rs := newRelays()
	began := time.Now()
	friend := wire.PeerID{1}
	rs.routes[friend] = &relayRoute{used: began, live: true}
	peer := func(i int) wire.PeerID { return wire.PeerID{2, byte(i), byte(i >> 8)} }
	for i := range 2 * maxRelayRoutes {
		if len(rs.routes) >= maxRelayRoutes {
			rs.dropOldest()
		}
		rs.routes[peer(i)] = &relayRoute{used: began.Add(time.Duration(i+1) * time.Millisecond)}
	}
	if len(rs.routes) != maxRelayRoutes || rs.routes[friend] == nil {
		t.Errorf("%d routes, the friend's: %v", len(rs.routes), rs.routes[friend])
	}
	if rs.routes[peer(0)] != nil || rs.routes[peer(2*maxRelayRoutes-1)] == nil {
		t.Error("of the others the oldest go")
	}
	for _, r := range rs.routes {
		r.live = true
	}
	if rs.dropOldest(); rs.routes[friend] != nil {
		t.Error("of connections, too, the oldest goes")
	}
}
