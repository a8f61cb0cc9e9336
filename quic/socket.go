package quic

import (
	"net"
	"net/netip"
)

// ListenUDP opens the socket for Config.Conn. An unspecified IPv6 address, or
// the zero AddrPort, listens on IPv4 and IPv6 at once, or on IPv4 alone where
// the system has no IPv6. Port 0 lets the system choose.
func ListenUDP(addr netip.AddrPort) (net.PacketConn, error) {
	if !addr.IsValid() {
		addr = netip.AddrPortFrom(netip.IPv6Unspecified(), addr.Port())
	}
	network := "udp6"
	switch {
	case addr.Addr().Is4():
		network = "udp4"
	case addr.Addr().IsUnspecified():
		network = "udp"
	}
	u, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(addr))
	if err != nil && network == "udp" {
		u, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4zero, Port: int(addr.Port())})
	}
	if err != nil {
		return nil, err
	}
	return wrap(u), nil
}

func wrap(p net.PacketConn) net.PacketConn { return p }
