package node

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/kadquic/kadquic/internal/simnet"
)

// lets is the filtering of the NAT or firewall in front of a simulated node: it admits packets from all
// addresses, from addresses that the node has sent to, or from their ports only (RFC 4787 §5).
type lets int

const (
	letsAnybody lets = iota
	letsAddresses
	letsPorts
)

// A home is a socket behind a NAT, or behind a firewall if it is at home outside.
// It may use another port for each destination.
type home struct {
	net     *simnet.Network
	inside  netip.AddrPort
	outside netip.AddrPort
	each    bool // another port for each destination

	mu        sync.Mutex
	filter    lets
	by        map[netip.AddrPort]net.PacketConn // by the source that came through a mapped port
	forwarded net.PacketConn
	sockets   map[netip.AddrPort]net.PacketConn // by destination; all have one if not each
	sent      map[netip.AddrPort]time.Time      // when last
	next      uint16

	in      chan parcel
	ended   chan struct{}
	once    sync.Once
	readers sync.WaitGroup
}

type parcel struct {
	bytes []byte
	from  *net.UDPAddr
}

func newHome(n *simnet.Network, inside, outside netip.AddrPort, filter lets, each bool) *home {
	h := &home{
		net: n, inside: inside, outside: outside, filter: filter, each: each,
		by:      make(map[netip.AddrPort]net.PacketConn),
		sockets: make(map[netip.AddrPort]net.PacketConn), sent: make(map[netip.AddrPort]time.Time), next: outside.Port(),
		in: make(chan parcel, 64), ended: make(chan struct{}),
	}
	if !each {
		h.mu.Lock()
		h.socket(netip.AddrPort{})
		h.mu.Unlock()
	}
	return h
}

// socket is that from which packets to an address go.
func (h *home) socket(to netip.AddrPort) net.PacketConn {
	if !h.each {
		to = netip.AddrPort{}
	}
	if s := h.sockets[to]; s != nil {
		return s
	}
	s := h.net.Listen(netip.AddrPortFrom(h.outside.Addr(), h.next))
	h.next += 1009 // to be taken for random
	h.sockets[to] = s
	h.readers.Go(func() { h.read(s, to) })
	return s
}

func (h *home) read(s net.PacketConn, of netip.AddrPort) {
	for {
		b := make([]byte, 2000)
		n, a, err := s.ReadFrom(b)
		if err != nil {
			return
		}
		from := addrPortOf(a)
		h.mu.Lock()
		open := func(to netip.AddrPort) bool { return time.Since(h.sent[to]) < 5*time.Minute } // RFC 4787 §4.3
		pass := h.filter == letsAnybody || open(from) || h.filter == letsAddresses && open(netip.AddrPortFrom(from.Addr(), 0))
		pass = pass && (!h.each || from == of)
		h.mu.Unlock()
		if !pass {
			continue
		}
		select {
		case h.in <- parcel{b[:n], a.(*net.UDPAddr)}:
		case <-h.ended:
			return
		}
	}
}

// readForwarded takes in all that comes to a port that the router maps; answers go
// out by it.
func (h *home) readForwarded(s net.PacketConn) {
	for {
		b := make([]byte, 2000)
		n, a, err := s.ReadFrom(b)
		if err != nil {
			return
		}
		h.mu.Lock()
		h.by[addrPortOf(a)] = s
		h.mu.Unlock()
		select {
		case h.in <- parcel{b[:n], a.(*net.UDPAddr)}:
		case <-h.ended:
			return
		}
	}
}

// opens changes the filtering.
func (h *home) opens(filter lets) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.filter = filter
}

func (h *home) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case p := <-h.in:
		return copy(b, p.bytes), p.from, nil
	case <-h.ended:
		return 0, nil, net.ErrClosed
	}
}

func (h *home) WriteTo(b []byte, to net.Addr) (int, error) {
	select {
	case <-h.ended:
		return 0, net.ErrClosed
	default:
	}
	at := addrPortOf(to)
	h.mu.Lock()
	h.sent[at], h.sent[netip.AddrPortFrom(at.Addr(), 0)] = time.Now(), time.Now()
	s := h.by[at]
	if s == nil {
		s = h.socket(at)
	}
	h.mu.Unlock()
	return s.WriteTo(b, to)
}

func (h *home) Close() error {
	h.once.Do(func() {
		close(h.ended)
		h.mu.Lock()
		for _, s := range h.sockets {
			s.Close()
		}
		if h.forwarded != nil {
			h.forwarded.Close()
		}
		h.mu.Unlock()
		h.readers.Wait()
	})
	return nil
}

func (h *home) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(h.inside) }

func (h *home) SetDeadline(time.Time) error      { return nil }
func (h *home) SetReadDeadline(time.Time) error  { return nil }
func (h *home) SetWriteDeadline(time.Time) error { return nil }
