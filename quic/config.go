package quic

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/kadquic/kadquic/internal/peerkey"
)

// Config says how a [Transport] works. Key, ALPN and Conn must be set; the zero
// value of everything else means its default.
type Config struct {
	// Key is our identity.
	Key ed25519.PrivateKey

	// ALPN names the network; peers of another ALPN are refused (ErrNetwork).
	ALPN string

	// Conn is the socket: from ListenUDP, a *net.UDPConn, or anything else that
	// carries packets and whose addresses are *net.UDPAddr, such as a simulated
	// network's. The transport owns it from then on and closes it.
	Conn net.PacketConn

	// HandshakeTimeout bounds one dial, and how long an incoming handshake may
	// take. If zero, 5 seconds.
	HandshakeTimeout time.Duration

	// IdleTimeout ends a connection on which nothing at all has come in for so
	// long: the peer is gone. The smaller of the two sides' counts. If zero, 75
	// seconds.
	IdleTimeout time.Duration

	// KeepAlive sends a PING when nothing has come in for so long, so that a
	// quiet connection survives and NATs on the way keep its mapping. If zero, 25
	// seconds, below the 30 after which common NATs forget. If negative, never.
	KeepAlive time.Duration

	// MaxPending bounds incoming handshakes under way, more are refused. Above
	// half of it callers must prove their address first (Retry, RFC 9000 §8.1.2).
	// Callers through a relay have half of it at most.
	// Loopback is exempt. If zero, 64.
	MaxPending int

	// MaxStreams bounds the streams a peer may have open on one connection. If
	// zero, 100.
	MaxStreams int

	// MaxIn bounds accepted connections. Another MaxPending are let in above
	// it, for a Pool to make room by closing the least recently used; further
	// ones are refused. Above half of MaxIn the limits per address apply: 8 per
	// IPv4 address and 16 per /24; 4 per IPv6 /64, 8 per /56, 64 per /48.
	// Loopback is exempt from those. If zero, 512.
	MaxIn int

	// WindowBudget bounds the sum, in bytes, of the receive windows of all
	// connections. Each starts at 128 KiB (a stream's at 64 KiB) and grows while
	// data comes fast and the budget lasts. If zero, 256 MiB.
	WindowBudget int64

	// Admit is asked within the handshake whether a key may connect, dialled or
	// accepted; an error ends the handshake (the peer sees ErrRefused). It must
	// not block. If nil, every peer is admitted.
	Admit func(PublicKey) error

	// Relay sends a QUIC packet to a peer through a relay; Transport.Deliver takes
	// the packets that come back. With it there are virtual connections, whose paths can
	// be changed (Transport.Virtual, SetPath). It is called by any goroutine, must
	// not block (a packet for which there is no room, or no relay, is dropped), nor
	// keep the packet, which has up to 1200 bytes.
	Relay func(to PublicKey, packet []byte)

	// Probe receives the packets that are not QUIC's: up to 1200 bytes, the first
	// below 0x40, from any sender. Via is the port that it
	// came to, nil the transport's own socket. It is called by the goroutines that
	// read the sockets, one each: it must not block, nor keep the packet. It needs
	// Relay. May be nil.
	Probe func(via *Port, from netip.AddrPort, packet []byte)

	// PathChanged says that Transport.PathTo that peer tells something new, by
	// SetPath or because a path became quiet or came back. It is called by any
	// goroutine and must not block. May be nil.
	PathChanged func(PublicKey)

	// OpenPort opens another socket, for Transport.OpenPort. If nil, it is ListenUDP
	// on the address of Conn with port 0 where Conn is a *net.UDPConn, else there
	// are no ports.
	OpenPort func() (net.PacketConn, error)

	// CloseLeaving and CloseBusy are the codes with which connections are closed
	// by Close, and when the limits above refuse one after its handshake.
	CloseLeaving, CloseBusy uint64
}

const (
	// InitialPacketSize is the size of packets, in bytes: with 48 for IPv6 and UDP
	// it fits a path of 1280, the least that IPv6 promises. (quic-go's own 1280
	// cannot connect there.) It stays at that: path MTU discovery sends some 16
	// packets of up to 1452 bytes in the life of a connection, 20 kB, where a peer
	// of a lookup is asked for 1 kB. A bulk transfer pays 15 % more packets.
	InitialPacketSize = 1232

	// VirtualPacketSize is the size of packets of virtual connections: the least
	// that QUIC can do with (RFC 9000 §14), as they must fit into others.
	VirtualPacketSize = 1200

	streamWindow = 64 << 10
	connWindow   = 128 << 10

	// What one connection's windows may grow to, budget permitting: enough for
	// 1 Gbit/s at 100 ms.
	maxStreamWindow = 6 << 20
	maxConnWindow   = 15 << 20
)

// filled returns c with its defaults, or an error if c is invalid.
func (c Config) filled() (Config, error) {
	if err := peerkey.Check(c.Key); err != nil {
		return c, fmt.Errorf("quic: Config.Key: %w", err)
	}
	if c.ALPN == "" || len(c.ALPN) > 255 {
		return c, fmt.Errorf("quic: Config.ALPN %q must have 1 to 255 bytes", c.ALPN)
	}
	if c.Conn == nil {
		return c, errors.New("quic: Config.Conn is missing")
	}
	orDuration(&c.HandshakeTimeout, 5*time.Second)
	orDuration(&c.IdleTimeout, 75*time.Second)
	if c.KeepAlive == 0 {
		c.KeepAlive = 25 * time.Second
	}
	c.KeepAlive = min(max(c.KeepAlive, 0), maxDuration)
	orInt(&c.MaxPending, 64)
	orInt(&c.MaxStreams, 100)
	orInt(&c.MaxIn, 512)
	if c.WindowBudget <= 0 {
		c.WindowBudget = 256 << 20
	}
	return c, nil
}

// Times and numbers of a config that are higher are cut to these, so that sums with them
// do not overflow.
const (
	maxDuration = 24 * time.Hour
	maxNumber   = 1 << 20
)

func orDuration(d *time.Duration, def time.Duration) {
	if *d <= 0 {
		*d = def
	}
	*d = min(*d, maxDuration)
}

func orInt(n *int, def int) {
	if *n <= 0 {
		*n = def
	}
	*n = min(*n, maxNumber)
}
