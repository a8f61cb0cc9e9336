package node

import (
	"net/netip"
	"time"

	"github.com/kadquic/kadquic/internal/relay"
	"github.com/kadquic/kadquic/internal/relay/client"
	"github.com/kadquic/kadquic/wire"
)

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
