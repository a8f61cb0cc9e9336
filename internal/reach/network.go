package reach

import "net/netip"

// NetworkOf returns the network that votes, and is limited, as one: an IPv4 /24 or an IPv6 /64.
// The holder of one address in it can have the others for free.
func NetworkOf(a netip.Addr) netip.Prefix {
	if a.Is4() {
		return prefix(a, 24)
	}
	return prefix(a, 64)
}

// SiteOf returns the network that a relay limits as one, and whose dial-back failures count
// once: an IPv4 /24 or an IPv6 /48. One customer may have a whole /48, with 65536 /64s.
func SiteOf(a netip.Addr) netip.Prefix {
	if a.Is4() {
		return NetworkOf(a)
	}
	return prefix(a, 48)
}

func prefix(a netip.Addr, bits int) netip.Prefix {
	p, _ := a.Prefix(bits) // fails only for more bits than the address has
	return p
}
