package quic

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
)

// ListenUDP opens a socket for Config.Conn. An unspecified IPv6 address, or the
// zero AddrPort, listens on IPv4 and IPv6 at once, or on IPv4 alone where the
// system has no IPv6. Any other error, as of a port that is taken, names addr.
// Port 0 lets the system choose.
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
	if network == "udp" && lacksIPv6(err) {
		u, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4zero, Port: int(addr.Port())})
	}
	if err != nil {
		return nil, err
	}
	return u, nil
}

// ListenIPv6 is ListenUDP for an IPv6 address at which IPv4 is not served: beside the
// socket of an unspecified address others may listen on the same port by IPv4.
func ListenIPv6(addr netip.AddrPort) (net.PacketConn, error) {
	if !addr.Addr().Is6() || addr.Addr().Is4In6() {
		return nil, fmt.Errorf("quic: %v is not an IPv6 address", addr)
	}
	u, err := net.ListenUDP("udp6", net.UDPAddrFromAddrPort(addr)) // sets IPV6_V6ONLY
	if err != nil {
		return nil, err
	}
	return u, nil
}

// A watcher hears of packets that did not get far. Its methods are called from
// any goroutine and must not send.
type watcher interface {
	// sendFailed: a packet could not be sent.
	sendFailed(to netip.AddrPort, err error)

	// handshakeSent: a packet with a long header is being sent. It is called only
	// where bounced is.
	handshakeSent(to netip.AddrPort, packet []byte)

	// bounced: the network (by ICMP) or this machine says that a packet sent to an
	// address cannot arrive there, and quotes its beginning. Any host can forge
	// such a message, but not the quote.
	bounced(to netip.AddrPort, quote []byte, err error)
}

// wrap puts our socket around p. quic-go ends a connection on almost any error
// of a send, also one that the next moment mends (the route changes, a filter
// says no, a queue is full): ours loses that packet instead, as the network
// would, and tells w.
//
// Where the system can, the wrapper of a *net.UDPConn reads and writes batches
// and carries ECN and DF, as quic-go does with a bare one: it would lose these if
// it merely overrode ReadFrom and WriteTo, which quic-go then bypasses.
//
// Packets go to paths first, unless it is nil.
func wrap(p net.PacketConn, w watcher, paths *paths) net.PacketConn {
	if u, ok := p.(*net.UDPConn); ok {
		return wrapUDP(&udp{UDPConn: u, watcher: w, paths: paths})
	}
	return &plain{PacketConn: p, watcher: w, paths: paths}
}

// readFrom reads the next packet that is not for the paths, if any.
func readFrom(p net.PacketConn, paths *paths, b []byte) (int, net.Addr, error) {
	for {
		n, from, err := p.ReadFrom(b)
		if err != nil || paths == nil || isShortHeader(b[:n]) {
			return n, from, err
		}
		if u, ok := from.(*net.UDPAddr); !ok || !paths.take(nil, addrPort(u), b[:n], 0) {
			return n, from, nil
		}
	}
}

// plain is a socket that can do no more than carry packets: a simulated
// network's, or one that the user made.
type plain struct {
	net.PacketConn
	watcher watcher
	paths   *paths // or nil
}

func (p *plain) ReadFrom(b []byte) (int, net.Addr, error) { return readFrom(p.PacketConn, p.paths, b) }

func (p *plain) WriteTo(b []byte, to net.Addr) (int, error) {
	n, err := p.PacketConn.WriteTo(b, to)
	if err != nil && !final(err) {
		p.watcher.sendFailed(addrPort(to), err)
		return len(b), nil
	}
	return n, err
}

// SetReadBuffer and SetWriteBuffer try, and never complain: quic-go would print
// a warning to the program's log.
func (p *plain) SetReadBuffer(n int) error {
	if c, ok := p.PacketConn.(interface{ SetReadBuffer(int) error }); ok {
		_ = c.SetReadBuffer(n)
	}
	return nil
}

// SetWriteBuffer is described with SetReadBuffer.
func (p *plain) SetWriteBuffer(n int) error {
	if c, ok := p.PacketConn.(interface{ SetWriteBuffer(int) error }); ok {
		_ = c.SetWriteBuffer(n)
	}
	return nil
}

// udp is the part of a socket that all systems share.
type udp struct {
	*net.UDPConn
	watcher watcher
	paths   *paths       // or nil
	sized   atomic.Int32 // how many of the two buffers quic-go has sized
}

// ReadFrom is how quic-go reads where it reads no batches.
func (u *udp) ReadFrom(b []byte) (int, net.Addr, error) { return readFrom(u.UDPConn, u.paths, b) }

func (u *udp) WriteTo(b []byte, to net.Addr) (int, error) {
	n, err := u.UDPConn.WriteTo(b, to)
	if err == nil {
		return n, nil
	}
	addr, _ := to.(*net.UDPAddr)
	n, _, err = u.retry(b, nil, addr, err)
	return n, err
}

// WriteMsgUDP sends b, which with the right control message in oob is a batch.
func (u *udp) WriteMsgUDP(b, oob []byte, to *net.UDPAddr) (n, oobn int, err error) {
	if n, oobn, err = u.UDPConn.WriteMsgUDP(b, oob, to); err != nil {
		return u.retry(b, oob, to, err)
	}
	return n, oobn, nil
}

// retry repeats a send that failed with err: an error may be left over from an
// earlier packet, even to another address, and the first send of a new socket can
// fail for no reason (golang.org/issue/63322). Then it is a lost packet,
// unless quic-go acts on the error.
func (u *udp) retry(b, oob []byte, to *net.UDPAddr, err error) (n, oobn int, _ error) {
	if !errors.Is(err, net.ErrClosed) {
		if n, oobn, err = u.UDPConn.WriteMsgUDP(b, oob, to); err == nil {
			return n, oobn, nil
		}
	}
	if final(err) {
		return n, oobn, err
	}
	u.watcher.sendFailed(addrPort(to), err)
	return len(b), len(oob), nil
}

// final tells whether an error of a send must reach quic-go: it shrinks packets
// that are too large, stops batching where the device cannot (EIO), and ends
// when the socket is closed.
func final(err error) bool {
	return tooLarge(err) || errors.Is(err, syscall.EIO) || errors.Is(err, net.ErrClosed)
}

// SetReadBuffer enlarges the kernel's receive buffer as far as it may be.
func (u *udp) SetReadBuffer(n int) error {
	_ = u.UDPConn.SetReadBuffer(n)
	enlarge(u.UDPConn, true, n)
	u.sized.Add(1)
	return nil
}

// SetWriteBuffer enlarges the kernel's send buffer as far as it may be.
func (u *udp) SetWriteBuffer(n int) error {
	_ = u.UDPConn.SetWriteBuffer(n)
	enlarge(u.UDPConn, false, n)
	u.sized.Add(1)
	return nil
}

var errNotYet = errors.New("quic: the buffers are not sized yet")

// SyscallConn answers once both buffers are sized. quic-go asks for it before
// that only to compare their sizes with its wishes, and would print a warning to
// the program's log; a library has no business there.
func (u *udp) SyscallConn() (syscall.RawConn, error) {
	if u.sized.Load() < 2 {
		return nil, errNotYet
	}
	return u.UDPConn.SyscallConn()
}
