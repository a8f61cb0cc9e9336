package quic

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	ma "github.com/multiformats/go-multiaddr"
)

// ParseListen reads an address to listen on: /ip4/A/udp/P/quic-v1 or
// /ip6/A/udp/P/quic-v1. Port 0 lets the system choose.
func ParseListen(m ma.Multiaddr) (netip.AddrPort, error) {
	host, port, err := split(m)
	if err != nil {
		return netip.AddrPort{}, err
	}
	addr, ok := ipOf(host)
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("address %q names a host, not an IP address to listen on", m)
	}
	return netip.AddrPortFrom(addr, port), nil
}

// A resolver looks names up; tests bring their own.
type resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	LookupTXT(ctx context.Context, name string) ([]string, error)
}

// Resolve finds the addresses to dial for m, which is /ip4, /ip6, /dns4, /dns6
// or /dns, then /udp/P/quic-v1; a /p2p/ID at its end is ignored. A name may
// have several; they come in the resolver's order. m may also be /dnsaddr/N or
// /dnsaddr/N/p2p/ID, which stands for the addresses, at most 16, that the TXT
// records of _dnsaddr.N give to that peer.
func Resolve(ctx context.Context, m ma.Multiaddr) ([]netip.AddrPort, error) {
	return resolve(ctx, m, net.DefaultResolver)
}

func resolve(ctx context.Context, m ma.Multiaddr, r resolver) ([]netip.AddrPort, error) {
	if isDNSAddr(m) {
		return resolveDNSAddr(ctx, m, r)
	}
	host, port, err := split(m)
	if err != nil {
		return nil, err
	}
	if port == 0 {
		return nil, fmt.Errorf("address %q has port 0", m)
	}
	if addr, ok := ipOf(host); ok {
		if addr.IsUnspecified() {
			return nil, fmt.Errorf("address %q cannot be dialled: 0.0.0.0 and :: are for listening only", m)
		}
		return []netip.AddrPort{netip.AddrPortFrom(addr, port)}, nil
	}
	network := map[int]string{ma.P_DNS: "ip", ma.P_DNS4: "ip4", ma.P_DNS6: "ip6"}[host.Protocol().Code]
	addrs, err := r.LookupNetIP(ctx, network, host.Value())
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", m, err)
	}
	var found []netip.AddrPort
	for _, a := range addrs {
		a = a.Unmap()
		if (network == "ip4" && !a.Is4()) || (network == "ip6" && !a.Is6()) || a.IsUnspecified() {
			continue
		}
		found = append(found, netip.AddrPortFrom(a, port))
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("address %q: the name has no usable address", m)
	}
	return found, nil
}

// split takes host/udp/P/quic-v1[/p2p/ID] apart.
func split(m ma.Multiaddr) (host *ma.Component, port uint16, err error) {
	n := len(m)
	if n > 0 && m[n-1].Protocol().Code == ma.P_P2P {
		n--
	}
	if n != 3 || m[1].Protocol().Code != ma.P_UDP || m[2].Protocol().Code != ma.P_QUIC_V1 {
		return nil, 0, fmt.Errorf("address %q is not of the form /ip4/A/udp/P/quic-v1", m)
	}
	host = &m[0]
	switch host.Protocol().Code {
	case ma.P_IP4, ma.P_IP6, ma.P_DNS, ma.P_DNS4, ma.P_DNS6:
	default:
		return nil, 0, fmt.Errorf("address %q begins with /%s; only ip4, ip6, dns, dns4 and dns6 can be used", m, host.Protocol().Name)
	}
	p, err := strconv.ParseUint(m[1].Value(), 10, 16)
	if err != nil {
		return nil, 0, fmt.Errorf("address %q: %w", m, err)
	}
	return host, uint16(p), nil
}

func ipOf(c *ma.Component) (netip.Addr, bool) {
	switch c.Protocol().Code {
	case ma.P_IP4, ma.P_IP6:
		a, ok := netip.AddrFromSlice(c.RawValue())
		return a.Unmap(), ok
	}
	return netip.Addr{}, false
}

// addrPort is a as a comparable value: unmapped, so that one peer is never two.
func addrPort(a net.Addr) netip.AddrPort {
	u, ok := a.(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := u.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
