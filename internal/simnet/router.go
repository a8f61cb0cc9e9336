package simnet

import (
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/quic-go/quic-go/testutils/simnet"
)

// router is the Network as the links see it: where all packets go through.
type router Network

var _ simnet.Router = (*router)(nil)

// AddNode is part of simnet.Router; Network.Listen does it.
func (r *router) AddNode(net.Addr, simnet.PacketReceiver) {}

// SendPacket delivers or drops p. It never fails, because a sender does not learn the fate of its
// packets.
func (r *router) SendPacket(p simnet.Packet) error {
	from, ok := addrPort(p.From)
	to, ok2 := addrPort(p.To)
	if !ok || !ok2 {
		return nil
	}
	if from, c := (*Network)(r).route(from, to, len(p.Data)); c != nil {
		// The receiver gets a copy of the sender's address, because it may write to
		// the net.UDPAddr that it points to.
		p.From = net.UDPAddrFromAddrPort(from)
		c.link.RecvPacket(p)
	}
	return nil
}

// route decides on one packet. It returns the source that the receiver sees, and the
// receiver, nil if there is none.
func (n *Network) route(from, to netip.AddrPort, size int) (netip.AddrPort, *conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	ends := pair{from, to}
	i := n.counts[ends]
	n.counts[ends]++
	n.stats.Sent++
	n.stats.SentBytes += uint64(size)
	source, to, ok := n.translate(from, to)
	c := n.hosts[to]
	switch {
	case n.dead[from] || n.dead[to]:
		n.stats.Dead++
	case n.side != nil && n.side[from] != n.side[to], n.cut[ends]:
		n.stats.Parted++
	case n.loss > 0 && unit(n.draw(ends, i)) < n.loss:
		n.stats.Lost++
	case c == nil || !ok:
		n.stats.Strays++
	default:
		n.stats.Delivered++
		return source, c
	}
	return source, nil
}

// draw returns the 64 random bits of the ith packet between two ends.
func (n *Network) draw(ends pair, i uint64) uint64 {
	h := mix(n.opts.Seed)
	for _, a := range [...]netip.AddrPort{ends.from, ends.to} {
		ip := a.Addr().As16()
		h = mix(h ^ binary.BigEndian.Uint64(ip[:8]))
		h = mix(h ^ binary.BigEndian.Uint64(ip[8:]))
		h = mix(h ^ uint64(a.Port()))
	}
	return mix(h ^ i)
}

// mix is the step of splitmix64 (Steele, Lea and Flood 2014): a bijection of 64
// bits without visible pattern.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// unit maps 64 bits to [0, 1).
func unit(x uint64) float64 { return float64(x>>11) / (1 << 53) }

func addrPort(a net.Addr) (netip.AddrPort, bool) {
	u, ok := a.(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}, false
	}
	return unmap(u.AddrPort()), true
}
