package node

import (
	"time"

	"github.com/kadquic/kadquic/internal/relay"
	"github.com/kadquic/kadquic/internal/relay/service"
	"github.com/kadquic/kadquic/wire"
)

// RelayStats are what a node does for others as their relay.
type RelayStats struct {
	Reservations int   // held now
	Flows        int   // pairs of peers whose packets are passed on, now
	Calls        int64 // passed on
	Packets      int64
	Bytes        int64
	Refused      int64 // reservations and calls, for a limit
	Dropped      int64 // packets over a limit, without a call, or whose recipient was gone
}

func relayStats(s relay.Stats) RelayStats {
	return RelayStats{s.Reservations, s.Flows, s.Calls, s.Packets, s.Bytes, s.Refused, s.Dropped()}
}

// newRelayService makes the service as a relay for other peers.
func (n *Node) newRelayService() *service.Service {
	return service.New(service.Config{Host: relayServiceHost{n}, Background: n.background, RPCTimeout: n.config.RPCTimeout})
}

// relayServiceHost is the node as its relay service sees it.
type relayServiceHost struct{ n *Node }

func (h relayServiceHost) Relays() bool {
	return !h.n.config.NoRelay && h.n.mode() == wire.ModeServer
}
func (h relayServiceHost) MayReserve(now time.Time) bool { return h.n.self.MayRelay(now) }
func (h relayServiceHost) ReadDatagrams(l service.Link)  { l.(relayLink).readDatagrams() }
