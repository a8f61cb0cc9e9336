package nodetest

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
)

// Loopback starts count nodes on 127.0.0.1 in real time, joined through the first. They are
// closed when the test ends.
func Loopback(t testing.TB, count int, o Options) *Network {
	t.Helper()
	n := newNetwork(t, &loopback{rand: rand.New(rand.NewPCG(o.Seed, 1))}, o)
	t.Cleanup(n.close)
	n.start(count)
	return n
}

// loopback is the medium of [Loopback]: real sockets, each of which drops the packets that
// are to be lost.
type loopback struct {
	mu     sync.Mutex
	rand   *rand.Rand
	loss   float64
	dead   []netip.AddrPort
	groups [][]netip.AddrPort
}

func (m *loopback) listen(int) (net.PacketConn, netip.AddrPort, error) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, netip.AddrPort{}, err
	}
	at := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	return &lossyConn{conn, m, at}, at, nil
}

func (m *loopback) kill(at netip.AddrPort) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead = append(m.dead, at)
}

func (m *loopback) partition(groups ...[]netip.AddrPort) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.groups = groups
}

func (m *loopback) setLoss(share float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.loss = share
}

func (m *loopback) isDead(at netip.AddrPort) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Contains(m.dead, at)
}

// drops reports whether a packet from one socket to another is to vanish.
func (m *loopback) drops(from, to netip.AddrPort) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if slices.Contains(m.dead, from) || slices.Contains(m.dead, to) {
		return true
	}
	for _, g := range m.groups {
		if slices.Contains(g, from) != slices.Contains(g, to) {
			return true
		}
	}
	return m.loss > 0 && m.rand.Float64() < m.loss
}

// A lossyConn is a UDP socket that drops packets. It does not embed *net.UDPConn, by whose
// other methods QUIC would pass by its own.
type lossyConn struct {
	net.PacketConn
	medium *loopback
	at     netip.AddrPort
}

func (c *lossyConn) WriteTo(b []byte, to net.Addr) (int, error) {
	if c.medium.drops(c.at, to.(*net.UDPAddr).AddrPort()) {
		return len(b), nil
	}
	return c.PacketConn.WriteTo(b, to)
}

func (c *lossyConn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := c.PacketConn.ReadFrom(b)
		if err != nil || !c.medium.isDead(c.at) { // packets of this network's nodes were dropped by their senders
			return n, from, err
		}
	}
}

// SetReadBuffer and SetWriteBuffer let QUIC ask for larger buffers.
func (c *lossyConn) SetReadBuffer(bytes int) error {
	return c.PacketConn.(*net.UDPConn).SetReadBuffer(bytes)
}

func (c *lossyConn) SetWriteBuffer(bytes int) error {
	return c.PacketConn.(*net.UDPConn).SetWriteBuffer(bytes)
}
