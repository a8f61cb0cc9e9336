package reach

import "net/netip"

// NetworkOf is the network that votes, and is limited, as one: an IPv4 /24 or an IPv6
// /64, of which addresses cost nothing to whoever has one there.
func NetworkOf(a netip.Addr) netip.Prefix {
	if a.Is4() {
		return prefix(a, 24)
	}
	return prefix(a, 64)
}

// SiteOf is the network that a relay limits as one, and that tells but once that it
// does not reach us: an IPv6 /64 costs nothing, there are 65536 of them in what one
// customer may have.
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
