package lan

import (
	"net"
	"net/netip"
	"slices"
)

// maxIfaces bounds the interfaces. Linux lets a socket join 20 groups.
const maxIfaces = 16

// An iface is a multicast interface of this machine.
type iface struct {
	net   *net.Interface
	index int
	addrs []netip.Prefix // of this machine, each with the length of its subnet
}

// interfaces returns the interfaces that are up now.
func interfaces() []iface {
	all, err := net.Interfaces()
	if err != nil {
		return nil
	}
	var ifaces []iface
	for _, i := range all {
		const want, not = net.FlagUp | net.FlagMulticast, net.FlagLoopback | net.FlagPointToPoint
		if i.Flags&want != want || i.Flags&not != 0 || len(ifaces) == maxIfaces {
			continue
		}
		at := iface{net: &i, index: i.Index}
		list, _ := i.Addrs()
		for _, a := range list {
			if n, ok := a.(*net.IPNet); ok {
				ip, _ := netip.AddrFromSlice(n.IP)
				ones, _ := n.Mask.Size()
				if p := netip.PrefixFrom(ip.Unmap(), ones); p.IsValid() {
					at.addrs = append(at.addrs, p)
				}
			}
		}
		if len(at.addrs) > 0 {
			ifaces = append(ifaces, at)
		}
	}
	return ifaces
}

// same reports whether i and other have the same index and addresses.
func (i iface) same(other iface) bool {
	return i.index == other.index && slices.Equal(i.addrs, other.addrs)
}

// speaks reports whether the interface has an address of the family.
func (i iface) speaks(v6 bool) bool {
	return slices.ContainsFunc(i.addrs, func(p netip.Prefix) bool { return p.Addr().Is6() == v6 })
}

// has reports whether a packet came from a subnet of the interface (RFC 6762 §11). index
// identifies the interface that received it; 0 if the system does not report it.
func (i iface) has(from netip.AddrPort, index int) bool {
	if index != 0 && index != i.index {
		return false
	}
	ip := from.Addr()
	if ip.Zone() != "" && ip.Zone() != i.net.Name {
		return false
	}
	ip = ip.WithZone("")
	return slices.ContainsFunc(i.addrs, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// reaches reports whether ip is a host in a subnet of the interface.
func (i iface) reaches(ip netip.Addr) bool {
	if ip.Is6() && ip.IsLinkLocalUnicast() || ip.IsMulticast() {
		return false
	}
	return slices.ContainsFunc(i.addrs, func(p netip.Prefix) bool {
		return p.Contains(ip) && (ip.Is6() || !wholeNet(ip, p.Bits()))
	})
}

// wholeNet reports whether an IPv4 address is the broadcast or the network address of its
// subnet: many hosts would answer a packet to it.
func wholeNet(ip netip.Addr, bits int) bool {
	if bits > 30 { // RFC 3021
		return false
	}
	b := ip.As4()
	n := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	host := uint32(1)<<(32-bits) - 1
	return n&host == 0 || n&host == host
}

// doors returns the addresses on the LAN of sockets that are bound to at, IPv4 first.
func (i iface) doors(at []netip.AddrPort) []netip.AddrPort {
	var doors []netip.AddrPort
	for _, a := range at {
		bound := a.Addr().Unmap()
		for _, p := range i.addrs {
			ip := p.Addr()
			switch {
			case !i.reaches(ip):
			case ip == bound, bound.IsUnspecified() && (bound.Is6() || ip.Is4()):
				doors = append(doors, netip.AddrPortFrom(ip, a.Port()))
			}
		}
	}
	slices.SortStableFunc(doors, func(a, b netip.AddrPort) int {
		return a.Addr().BitLen() - b.Addr().BitLen()
	})
	doors = slices.Compact(doors)
	return doors[:min(len(doors), maxAddrs)]
}
