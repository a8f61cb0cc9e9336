package node

import (
	"net"
	"net/netip"
	"slices"

	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

// listen opens the sockets, all or none.
func (n *Node) listen() error {
	if len(n.sockets) == 0 {
		var addrs []netip.AddrPort
		for _, a := range n.config.Listen {
			ap, err := quic.ParseListen(a)
			if err != nil {
				return err
			}
			addrs = append(addrs, ap)
		}
		for i, p := range planSockets(addrs) {
			open := quic.ListenUDP
			if p.ipv6Only {
				open = quic.ListenIPv6
				n.ipv6Only[i] = true
			}
			socket, err := open(p.at)
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
		var openPort func() (net.PacketConn, error)
		if o, ok := socket.(interface {
			OpenPort() (net.PacketConn, error)
		}); ok {
			openPort = o.OpenPort
		}
		t, err := quic.NewTransport(quic.Config{
			Key:   n.config.Key,
			ALPN:  wire.ALPN(n.config.Network),
			Conn:  socket,
			MaxIn: n.config.MaxConnections,
			Admit: admit,
			Relay: func(key quic.PublicKey, packet []byte) { n.relays.Send(wire.PeerID(key), packet) },
			Probe: func(via *quic.Port, from netip.AddrPort, b []byte) {
				if n.running() == nil { // and all sockets are open
					n.sessions.Probe(n.transports[i], via, from, b)
				}
			},
			PathChanged:  func(key quic.PublicKey) { n.sessions.PathChanged(wire.PeerID(key)) },
			OpenPort:     openPort,
			CloseLeaving: wire.CloseLeaving,
			CloseBusy:    wire.CloseBusy,
		})
		if err != nil {
			return err
		}
		n.transports = append(n.transports, t)
		if n.ipv6Only[i] {
			n.self.ListensOnIPv6(t.LocalAddr())
			continue // routers map ports of IPv4
		}
		n.self.ListensOn(t.LocalAddr())
		n.mapPort(socket)
	}
	n.addrs() // reads the interfaces, by which the first dial ranks addresses
	return nil
}

// A socketPlan is a socket to be opened. The zero value is a socket of both families on
// any port.
type socketPlan struct {
	at       netip.AddrPort
	ipv6Only bool // it leaves its port to others by IPv4
}

// planSockets returns the sockets that serve the addresses of Config.Listen, in any
// order. One socket of both families stands for 0.0.0.0 and :: on one port, because
// calls through relays use one socket only (callSocket). Where another IPv4 address is asked
// for on the port of ::, the socket of :: leaves IPv4 out: it could not be opened else.
func planSockets(addrs []netip.AddrPort) (plans []socketPlan) {
	if len(addrs) == 0 {
		return []socketPlan{{}}
	}
	asked := func(ip netip.Addr, port uint16) bool { return slices.Contains(addrs, netip.AddrPortFrom(ip, port)) }
	for _, at := range addrs {
		anyIPv4 := asked(netip.IPv4Unspecified(), at.Port())
		anyIPv6 := asked(netip.IPv6Unspecified(), at.Port())
		switch {
		case at.Addr() == netip.IPv4Unspecified() && anyIPv6: // the socket of :: serves it
			continue
		case at.Addr() == netip.IPv6Unspecified() && !anyIPv4:
			other := func(o netip.AddrPort) bool { return o.Addr().Is4() && o.Port() == at.Port() && at.Port() != 0 }
			plans = append(plans, socketPlan{at, slices.ContainsFunc(addrs, other)})
		default:
			plans = append(plans, socketPlan{at: at})
		}
	}
	return plans
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

// callSocket returns the socket of all connections through relays: offers name its
// addresses and paths are set there. Of several sockets it is the one of the widest scope,
// of equals the first in Config.Listen. If no socket serves both families, calls try no
// paths of the other one. Peers that can be dialled are dialled from any socket.
func (n *Node) callSocket() *quic.Transport {
	best, bestRank := n.transports[0], -1
	for i, t := range n.transports {
		if rank := socketRank(t.LocalAddr().Addr(), n.ipv6Only[i]); rank > bestRank {
			best, bestRank = t, rank
		}
	}
	return best
}

// socketRank ranks a socket by the address that it is bound to.
func socketRank(local netip.Addr, ipv6Only bool) int {
	switch {
	case local.IsUnspecified() && local.Is6() && !ipv6Only: // both families, see quic.ListenUDP
		return int(reach.ScopeGlobal) + 2
	case local.IsUnspecified():
		return int(reach.ScopeGlobal) + 1
	}
	return int(reach.ScopeOf(local))
}
