package node

import (
	"net"
	"net/netip"

	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

// listen opens the sockets, all or none.
func (n *Node) listen() error {
	if len(n.sockets) == 0 {
		addrs := []netip.AddrPort{{}}
		if len(n.config.Listen) > 0 {
			addrs = addrs[:0]
			for _, a := range n.config.Listen {
				ap, err := quic.ParseListen(a)
				if err != nil {
					return err
				}
				addrs = append(addrs, ap)
			}
		}
		for _, ap := range addrs {
			socket, err := quic.ListenUDP(ap)
			if err != nil {
				return err
			}
			n.sockets = append(n.sockets, socket)
		}
	}
	n.onMachine = true
	for _, socket := range n.sockets {
		_, ok := socket.(*net.UDPConn)
		n.onMachine = n.onMachine && ok
	}
	if n.onMachine {
		n.fresh = listenAfresh
	}
	for i, socket := range n.sockets {
		var admit func(quic.PublicKey) error
		if n.config.Admit != nil {
			admit = func(key quic.PublicKey) error { return n.config.Admit(wire.PeerID(key)) }
		}
		t, err := quic.NewTransport(quic.Config{
			Key:          n.config.Key,
			ALPN:         wire.ALPN(n.config.Network),
			Conn:         socket,
			MaxIn:        n.config.MaxConnections,
			Admit:        admit,
			Relay:        n.relayedTo,
			Probe:        func(via *quic.Port, from netip.AddrPort, b []byte) { n.gotProbe(i, via, from, b) },
			PathChanged:  n.pathChanged,
			CloseLeaving: wire.CloseLeaving,
			CloseBusy:    wire.CloseBusy,
		})
		if err != nil {
			return err
		}
		n.transports = append(n.transports, t)
		n.self.ListensOn(t.LocalAddr())
		n.mapPort(socket)
	}
	return nil
}

// accept hands incoming connections of one socket to the pool.
func (n *Node) accept(t *quic.Transport) {
	for {
		c, err := t.Accept(n.ctx)
		if err != nil {
			if n.ctx.Err() == nil {
				n.config.Logger.Error("a socket has failed", "addr", t.LocalAddr(), "err", err)
			}
			return
		}
		n.pool.Add(c)
	}
}
