package node

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/kadquic/kadquic/internal/portmap"
	"github.com/kadquic/kadquic/internal/reach"
)

// PortMapping is the port mapping of the router in front of a node for one of its sockets.
type PortMapping struct {
	// Port is the port of the socket. Local is the machine's address as the router, Gateway,
	// sees it. Both addresses are invalid while there is no gateway.
	Port           uint16
	Local, Gateway netip.Addr
	// Speaks are the protocols by which the router answered: PCP, NAT-PMP, UPnP.
	Speaks []string
	// Outside is the address at which the router says it lets others in, by Protocol;
	// not valid if it does not. Others hear of it once it has been seen to work.
	Outside  netip.AddrPort
	Protocol string
	// Expires is when the mapping ends unless it is renewed; zero if never.
	Expires time.Time
	// Why says in words why there is no mapping, or of what use is the one there is.
	// If empty, all is well.
	Why string
}

// newMapper is portmap.New. Tests replace it, so that they do not ask the machine's router.
var newMapper = portmap.New

// mapPort keeps the port of a socket mapped while the node runs, except on loopback, IPv6 and
// simulated sockets, and for clients.
func (n *Node) mapPort(socket net.PacketConn) {
	u, ok := socket.(*net.UDPConn)
	if n.config.NoPortMapping || n.config.Mode == ModeClient || !ok {
		return
	}
	at := u.LocalAddr().(*net.UDPAddr).AddrPort()
	ip := at.Addr().Unmap()
	config := portmap.Config{
		Port:   at.Port(),
		Secret: n.config.Key.Seed(),
		Logger: n.config.Logger,
		Changed: func(m portmap.Mapping) {
			n.self.MappedTo(at.Port(), m.Outside)
			n.reachProbe.poke()
		},
	}
	switch {
	case ip.IsUnspecified():
	case ip.Is4() && reach.ScopeOf(ip) == reach.ScopePrivate:
		config.Local = ip
	default:
		return
	}
	n.mappers = append(n.mappers, newMapper(config))
}

// keepMapped is the task of one socket's mapping. A node that is closed takes it away;
// one that crashes leaves it.
func (n *Node) keepMapped(m *portmap.Mapper) func(context.Context) {
	return func(ctx context.Context) {
		m.Run(ctx)
		if !n.crashed.Load() {
			m.Release()
		}
	}
}

// doubtMapping has the router asked again for the mapping to an address at which a peer
// could not connect, if there is one: peers are believed more than routers.
func (n *Node) doubtMapping(at netip.AddrPort) {
	for _, mapper := range n.mappers {
		if m := mapper.State().Mapping; !m.IsZero() && m.Outside == at {
			mapper.Doubt()
		}
	}
}

// PortMappings returns what the router in front of the node does for each of its
// sockets, without those that nothing is mapped for: see Config.NoPortMapping.
func (n *Node) PortMappings() []PortMapping {
	if n.running() != nil {
		return nil
	}
	var all []PortMapping
	for _, mapper := range n.mappers {
		all = append(all, portMapping(mapper.State()))
	}
	return all
}

func portMapping(s portmap.State) PortMapping {
	p := PortMapping{Port: s.Port, Local: s.Local, Gateway: s.Gateway, Why: s.Why}
	for _, spoken := range s.Spoken() {
		p.Speaks = append(p.Speaks, spoken.String())
	}
	if s.Mapping.IsZero() {
		return p
	}
	p.Outside, p.Protocol, p.Expires = s.Mapping.Outside, s.Mapping.Protocol.String(), s.Mapping.Expires()
	if reach.ScopeOf(p.Outside.Addr()) != reach.ScopeGlobal {
		p.Why = fmt.Sprintf("the router's own address, %v, is not public: another NAT is in front of it", p.Outside.Addr())
	}
	return p
}
