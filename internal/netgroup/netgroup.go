// Package netgroup knows the networks that an address belongs to, for limits on what one
// network may take: an attacker has many identities and many addresses sooner than many
// networks. All limits per network in this project name networks by this package.
//
// The smallest unit is what one machine or household can have for nothing: an IPv4 /24, an
// IPv6 /64. The wider units are what one customer or hoster can have cheaply: an IPv4 /16; an IPv6
// /56, /48 and /32.
//
// An IPv6 address that stands for an IPv4 address (6to4, Teredo, NAT64, IPv4-mapped) counts as
// that: one IPv4 address gives 2^80 6to4 addresses. Addresses of private and carrier
// networks (RFC 1918, RFC 6598) count one by one, because all machines of a house, and all
// customers of a carrier in one city, may be in one /24.
package netgroup

import (
	"encoding/binary"
	"net/netip"
)

var (
	sixToFour = netip.MustParsePrefix("2002::/16")      // RFC 3056
	teredo    = netip.MustParsePrefix("2001::/32")      // RFC 4380
	nat64     = netip.MustParsePrefix("64:ff9b::/96")   // RFC 6052
	nat64Here = netip.MustParsePrefix("64:ff9b:1::/48") // RFC 8215, with a /96 by convention
	carrier   = netip.MustParsePrefix("100.64.0.0/10")  // RFC 6598
	local     = netip.MustParsePrefix("fc00::/7")       // RFC 4193
)

// Canonical returns the IPv4 address that an IPv6 address stands for, or the address itself
// without its zone.
func Canonical(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if !a.Is6() {
		return a
	}
	b := a.As16()
	switch {
	case sixToFour.Contains(a):
		return netip.AddrFrom4([4]byte(b[2:6]))
	case teredo.Contains(a): // the client's address, inverted
		var v4 [4]byte
		binary.BigEndian.PutUint32(v4[:], ^binary.BigEndian.Uint32(b[12:]))
		return netip.AddrFrom4(v4)
	case nat64.Contains(a), nat64Here.Contains(a):
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return a
}

// Of returns the smallest network of an address: an IPv4 /24 or an IPv6 /64; the address
// alone in a private IPv4 network or a carrier's. It returns the zero Prefix for an
// invalid address.
func Of(a netip.Addr) netip.Prefix {
	a = Canonical(a)
	bits := 24
	switch {
	case a.Is6():
		bits = 64
	case a.IsPrivate() || carrier.Contains(a):
		bits = 32
	}
	p, _ := a.Prefix(bits) // fails for an invalid address only
	return p
}

// IsCarrier reports whether an address is of a carrier's network behind its NAT (RFC 6598).
func IsCarrier(a netip.Addr) bool { return carrier.Contains(a) }

// Wider returns the wider networks of one that [Of] has returned, the smallest first. There are
// none of private and carrier networks.
func Wider(p netip.Prefix) []netip.Prefix {
	a := p.Addr()
	switch {
	case !p.IsValid() || a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || carrier.Contains(a) || local.Contains(a):
		return nil
	case a.Is4():
		return widen(a, 16)
	}
	return widen(a, 56, 48, 32)
}

func widen(a netip.Addr, bits ...int) []netip.Prefix {
	wider := make([]netip.Prefix, len(bits))
	for i, n := range bits {
		wider[i], _ = a.Prefix(n)
	}
	return wider
}

// Within returns the network of an address with prefixes of the given lengths for IPv4 and
// IPv6, or [Of] where that is wider.
func Within(a netip.Addr, bits4, bits6 int) netip.Prefix {
	a = Canonical(a)
	of, bits := Of(a), bits4
	if a.Is6() {
		bits = bits6
	}
	if !of.IsValid() || of.Bits() == a.BitLen() {
		return of
	}
	p, _ := a.Prefix(min(bits, of.Bits()))
	return p
}
