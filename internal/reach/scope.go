package reach

import (
	"net/netip"
	"slices"
)

// Scope orders addresses by how far away they mean something.
type Scope int

const (
	ScopeNone     Scope = iota // unspecified, multicast, translated: never dialled because a peer said so
	ScopeLoopback              // this machine
	ScopeLink                  // this link
	ScopePrivate               // this site, or this carrier
	ScopeGlobal
)

var (
	cgnat = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598
	ula   = netip.MustParsePrefix("fc00::/7")      // RFC 4193

	// translated are the IPv6 addresses that stand for an IPv4 address, which may
	// be of any scope.
	translated = []netip.Prefix{
		netip.MustParsePrefix("::/96"),         // IPv4-compatible, RFC 4291 §2.5.5.1
		netip.MustParsePrefix("::ffff:0:0/96"), // IPv4-mapped
		netip.MustParsePrefix("64:ff9b::/16"),  // NAT64, RFC 6052, RFC 8215
		netip.MustParsePrefix("2002::/16"),     // 6to4, RFC 3056
		netip.MustParsePrefix("2001::/32"),     // Teredo, RFC 4380
	}
)

// ScopeOf returns the scope of an address, which is not IPv4-mapped: those have none.
func ScopeOf(a netip.Addr) Scope {
	switch {
	case !a.IsValid() || a.IsUnspecified() || a.IsMulticast():
		return ScopeNone
	case a.Is4() && (a.As4()[0] == 0 || a.As4()[0] >= 240): // this network; reserved, broadcast
		return ScopeNone
	case a.IsLoopback() && !a.Is4In6():
		return ScopeLoopback
	case a.Is6() && slices.ContainsFunc(translated, func(p netip.Prefix) bool { return p.Contains(a) }):
		return ScopeNone
	case a.IsLinkLocalUnicast():
		return ScopeLink
	case a.IsPrivate() || cgnat.Contains(a) || ula.Contains(a):
		return ScopePrivate
	}
	return ScopeGlobal
}

// MayTell reports whether a peer reached at teller may make us dial addr: only
// in the scope in which we reached it, or a wider one. So no public peer can
// send us knocking at doors in our own house.
func MayTell(teller, addr netip.Addr) bool {
	s := ScopeOf(addr)
	return s != ScopeNone && s >= ScopeOf(teller)
}
