package wire

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	ma "github.com/multiformats/go-multiaddr"
)

// An Addr is where a peer may be dialled: a multiaddr in binary form, without
// the peer's ID. It is comparable, so it can be a map key, and one address has
// one Addr. The zero value is no address; any other is one of
//
//	/ip4/A/udp/P/quic-v1     04 A[4]        91 02 P[2] cd 03
//	/ip6/A/udp/P/quic-v1     29 A[16]       91 02 P[2] cd 03
//	/dns/N/udp/P/quic-v1     35 len N[len]  91 02 P[2] cd 03
//	/dns4/N/udp/P/quic-v1    36 len N[len]  91 02 P[2] cd 03
//	/dns6/N/udp/P/quic-v1    37 len N[len]  91 02 P[2] cd 03
//	/dnsaddr/N               38 len N[len]
//
// of at most MaxAddrLen bytes, where A is not the unspecified address nor an
// IPv4 address in IPv6 form, N consists of letters, digits, '-', '_' and '.',
// and P, big-endian, is not 0.
//
// An Addr from a frame shares its memory with the other addresses of the
// frame; who keeps one for long should keep its Clone.
type Addr string

// ErrAddr is returned for an address that is not one of the forms of [Addr].
var ErrAddr = errors.New("wire: not an address of a known form")

const (
	codeIP4     = 0x04
	codeIP6     = 0x29
	codeDNS     = 0x35
	codeDNS4    = 0x36
	codeDNS6    = 0x37
	codeDNSAddr = 0x38

	codeUDP    = "\x91\x02"
	codeQUICv1 = "\xcd\x03"
	udpLen     = len(codeUDP) + 2 + len(codeQUICv1)
)

// ParseAddr reads a binary multiaddr. The error is ErrAddr.
func ParseAddr(b []byte) (Addr, error) {
	if !validAddr(b) {
		return "", ErrAddr
	}
	return Addr(b), nil
}

// validAddr reports whether b is one of the forms of Addr.
func validAddr(b []byte) bool {
	if len(b) < 2 || len(b) > MaxAddrLen {
		return false
	}
	switch b[0] {
	case codeIP4:
		if len(b) != 5+udpLen || [4]byte(b[1:]) == ([4]byte{}) {
			return false
		}
		return udpQUIC(b[5:])
	case codeIP6:
		if len(b) != 17+udpLen {
			return false
		}
		ip := netip.AddrFrom16([16]byte(b[1:]))
		return !ip.Is4In6() && !ip.IsUnspecified() && udpQUIC(b[17:])
	case codeDNS, codeDNS4, codeDNS6, codeDNSAddr:
		n := int(b[1]) // one byte: MaxAddrLen keeps the length below 128
		if n > len(b)-2 || !dnsName(b[2:2+n]) {
			return false
		}
		if b[0] == codeDNSAddr {
			return len(b) == 2+n
		}
		return udpQUIC(b[2+n:])
	}
	return false
}

// udpQUIC reports whether b is /udp/P/quic-v1 with a port.
func udpQUIC(b []byte) bool {
	return len(b) == udpLen && string(b[:2]) == codeUDP && b[2]|b[3] != 0 && string(b[4:]) == codeQUICv1
}

func dnsName(b []byte) bool {
	for _, c := range b {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.', c == '_':
		default:
			return false
		}
	}
	return len(b) > 0
}

// AddrOf converts a multiaddr without /p2p; [SplitPeer] takes one with. An
// IPv4 address in IPv6 form becomes plain IPv4. The error wraps ErrAddr.
func AddrOf(m ma.Multiaddr) (Addr, error) {
	b := m.Bytes()
	if len(b) == 17+udpLen && b[0] == codeIP6 {
		if ip := netip.AddrFrom16([16]byte(b[1:])); ip.Is4In6() {
			v4 := ip.As4()
			b = append(append([]byte{codeIP4}, v4[:]...), b[17:]...)
		}
	}
	if !validAddr(b) {
		return "", fmt.Errorf("address %q: %w", m.String(), ErrAddr)
	}
	return Addr(b), nil
}

// AddrFrom returns the address of a UDP socket. An IPv4 address in IPv6 form
// becomes plain IPv4; a zone is dropped. It returns "" when there is no address
// or port, or the address is unspecified and cannot be dialled.
func AddrFrom(ap netip.AddrPort) Addr {
	ip := ap.Addr().Unmap()
	if !ip.IsValid() || ip.IsUnspecified() || ap.Port() == 0 {
		return ""
	}
	var buf [17 + udpLen]byte
	b := buf[:0]
	if ip.Is4() {
		a := ip.As4()
		b = append(append(b, codeIP4), a[:]...)
	} else {
		a := ip.As16()
		b = append(append(b, codeIP6), a[:]...)
	}
	b = append(b, codeUDP...)
	b = append(b, byte(ap.Port()>>8), byte(ap.Port()))
	b = append(b, codeQUICv1...)
	return Addr(b)
}

// AddrPort returns the IP address and port. It is false for names and for the
// zero Addr.
func (a Addr) AddrPort() (netip.AddrPort, bool) {
	switch {
	case len(a) == 5+udpLen && a[0] == codeIP4:
		ip := netip.AddrFrom4([4]byte([]byte(a[1:5])))
		return netip.AddrPortFrom(ip, a.port()), true
	case len(a) == 17+udpLen && a[0] == codeIP6:
		ip := netip.AddrFrom16([16]byte([]byte(a[1:17])))
		return netip.AddrPortFrom(ip, a.port()), true
	}
	return netip.AddrPort{}, false
}

// port returns the UDP port of an address that has one.
func (a Addr) port() uint16 {
	p := len(a) - len(codeQUICv1) - 2
	return uint16(a[p])<<8 | uint16(a[p+1])
}

// Multiaddr returns the address as a multiaddr; nil for the zero Addr and for
// a string that is not an Addr.
func (a Addr) Multiaddr() ma.Multiaddr {
	m, err := ma.NewMultiaddrBytes([]byte(a))
	if err != nil {
		return nil
	}
	return m
}

// String returns the address in text, such as /ip4/192.0.2.7/udp/4774/quic-v1,
// and "" for the zero Addr.
func (a Addr) String() string {
	if ap, ok := a.AddrPort(); ok {
		buf := make([]byte, 0, 80)
		if ap.Addr().Is4() {
			buf = append(buf, "/ip4/"...)
		} else {
			buf = append(buf, "/ip6/"...)
		}
		buf = ap.Addr().AppendTo(buf)
		buf = append(buf, "/udp/"...)
		buf = strconv.AppendUint(buf, uint64(ap.Port()), 10)
		return string(append(buf, "/quic-v1"...))
	}
	return a.Multiaddr().String()
}

// SplitPeer takes the trailing /p2p/ID off a full address. The PeerID is zero
// when there is none, the Addr when there is nothing else. The error wraps
// ErrAddr or ErrPeerID.
func SplitPeer(m ma.Multiaddr) (Addr, PeerID, error) {
	if len(m) == 0 {
		return "", PeerID{}, fmt.Errorf("empty address: %w", ErrAddr)
	}
	var id PeerID
	if last := &m[len(m)-1]; last.Code() == ma.P_P2P {
		var ok bool
		if id, ok = peerIDOf(last); !ok {
			return "", PeerID{}, fmt.Errorf("address %q: %w", m.String(), ErrPeerID)
		}
		if m = m[:len(m)-1]; len(m) == 0 {
			return "", id, nil
		}
	}
	a, err := AddrOf(m)
	if err != nil {
		return "", PeerID{}, err
	}
	return a, id, nil
}

// JoinPeer appends /p2p/ID, unless id is zero.
func JoinPeer(a Addr, id PeerID) ma.Multiaddr {
	m := a.Multiaddr()
	if id.IsZero() {
		return m
	}
	return append(m, id.component())
}

// Clone returns a copy of a that keeps no other memory alive.
func (a Addr) Clone() Addr { return Addr(strings.Clone(string(a))) }
