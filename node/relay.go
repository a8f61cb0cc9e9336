package node

import (
	"net/netip"
	"time"

	"github.com/kadquic/kadquic/internal/relay"
	"github.com/kadquic/kadquic/internal/relay/client"
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

// A relayLink is a link as the relay client and the relay service see it.
type relayLink struct{ *link }

func asRelayLink(l *link, err error) (client.Link, error) {
	if err != nil {
		return nil, err
	}
	return relayLink{l}, nil
}

func (l relayLink) IsVirtual() bool             { return l.Conn().Virtual() }
func (l relayLink) Began() time.Time            { return l.began }
func (l relayLink) Done() <-chan struct{}       { return l.Conn().Done() }
func (l relayLink) Close()                      { l.Conn().Close(wire.CloseNone, "") }
func (l relayLink) Hold() (release func())      { return l.Conn().Hold() }
func (l relayLink) Touch()                      { l.Conn().Touch() }
func (l relayLink) CurrentAddr() netip.AddrPort { return l.Conn().RemoteAddr() }
func (l relayLink) RTT() time.Duration          { return l.Conn().Stats().SmoothedRTT }
func (l relayLink) PacketsReceived() uint64     { return l.Conn().Stats().PacketsReceived }
func (l relayLink) MaxDatagram() int            { return l.Conn().MaxDatagram() }

func (l relayLink) SendDatagram(b []byte) bool {
	l.Conn().Touch()
	return l.Conn().SendDatagram(b)
}

// readDatagrams begins to read the link's datagrams, once. Each goes to its destination: to
// another peer, if this node is the relay, or else to this node.
func (l relayLink) readDatagrams() {
	n := l.node
	l.reading.Do(func() {
		n.spawn(func() {
			for {
				b, err := l.Conn().ReceiveDatagram(n.ctx)
				if err != nil {
					return
				}
				l.Conn().Touch()
				if d, ok := relay.Parse(b); ok && d.From {
					n.relays.HandleDatagram(l, d)
				} else {
					n.relay.Forward(l.id, b, time.Now())
				}
			}
		})
	})
}
