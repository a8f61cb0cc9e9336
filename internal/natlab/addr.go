package natlab

import "net/netip"

// The addresses of a lab pass as public wherever a program sorts them, which the
// ranges for documentation do not. They belong to others, and that does no harm: no
// packet leaves the lab. Every node on the internet has an IPv4 /16 and an IPv6 /32 to
// itself, so limits per subnet see them as strangers to each other.
//
//	the internet's router   25.255.0.1        2a25:ff::1
//	public host N           25.N.0.1          2a25:N::1
//	NAT N, outside          26.N.0.1          2a26:N::1
//	NAT N, its LAN          192.168.N.0/24    2a26:N:1::/64
//	carrier N, its LAN      100.64.N.0/24     (RFC 6598)
var (
	inet4 = netip.AddrFrom4([4]byte{25, 255, 0, 1})
	inet6 = addr6(0x25, 255, 0)
)

// The two ends of a link have these beside; the first is also the router's on a LAN.
var (
	upper = netip.MustParseAddr("fe80::1")
	lower = netip.MustParseAddr("fe80::2")
)

// maxNodes bounds the nodes of a lab; their addresses are made of their number.
const maxNodes = 250

func public4(number int) netip.Addr  { return netip.AddrFrom4([4]byte{25, byte(number), 0, 1}) }
func public6(number int) netip.Addr  { return addr6(0x25, number, 0) }
func outside4(number int) netip.Addr { return netip.AddrFrom4([4]byte{26, byte(number), 0, 1}) }
func outside6(number int) netip.Addr { return addr6(0x26, number, 0) }

func lan4(number int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 168, byte(number), 0}), 24)
}

func carrier4(number int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, byte(number), 0}), 24)
}

func lan6(number int) netip.Prefix {
	return netip.PrefixFrom(addr6(0x26, number, 1), 64).Masked()
}

func addr6(low byte, number, subnet int) netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0x2a, 1: low, 3: byte(number), 5: byte(subnet), 15: 1})
}

// nth is the address number n of a subnet of at most 256 of them, or of an IPv6 /64.
func nth(p netip.Prefix, n int) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	b[len(b)-1] |= byte(n)
	a, _ := netip.AddrFromSlice(b)
	return a
}
