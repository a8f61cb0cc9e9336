package punch

import (
	"math/rand/v2"
	"net/netip"
)

// mapping and filtering of a NAT, in the terms of RFC 4787 §4.1 and §5.
type mapping int

const (
	noMapping mapping = iota
	independent
	sequential
	random
)

type filtering int

const (
	anyone filtering = iota
	address
	addressAndPort
)

type natKind struct {
	name      string
	mapping   mapping
	filtering filtering
	open      bool // an unsolicited packet takes the port; later packets from inside to its source get another
}

var kinds = []natKind{
	{"public", noMapping, anyone, false},
	{"firewall", noMapping, addressAndPort, false},
	{"full-cone", independent, anyone, false},
	{"addr-restricted", independent, address, false},
	{"port-restricted", independent, addressAndPort, false},
	{"linux-open", independent, addressAndPort, true},
	{"symmetric-seq", sequential, addressAndPort, false},
	{"symmetric", random, addressAndPort, false},
}

// A nat is a NAT with one host behind it. Sockets are numbers.
type nat struct {
	natKind
	ip      netip.Addr
	rand    *rand.Rand
	last    uint16
	ports   map[flow]uint16
	inside  map[uint16]int // socket of each port
	sentTo  map[uint16]map[netip.AddrPort]bool
	spoiled map[netip.AddrPort]bool // remotes whose unsolicited packets came first
}

// A flow has one port: it is a socket, and a remote if the mapping depends on it.
type flow struct {
	socket int
	remote netip.AddrPort
}

func newNAT(k natKind, ip netip.Addr, r *rand.Rand) *nat {
	return &nat{natKind: k, ip: ip, rand: r, last: uint16(20000 + r.IntN(10000)),
		ports: map[flow]uint16{}, inside: map[uint16]int{}, sentTo: map[uint16]map[netip.AddrPort]bool{},
		spoiled: map[netip.AddrPort]bool{}}
}

// out translates a packet from a socket inside and returns its source address outside.
func (n *nat) out(socket int, to netip.AddrPort) netip.AddrPort {
	f := flow{socket: socket}
	if n.mapping == sequential || n.mapping == random || n.spoiled[to] {
		f.remote = to
	}
	port, ok := n.ports[f]
	for !ok {
		switch n.mapping {
		case random:
			port = uint16(1024 + n.rand.IntN(64512))
		case noMapping:
			port = uint16(4000 + socket)
		default:
			n.last++
			port = n.last
		}
		if _, taken := n.inside[port]; !taken {
			n.ports[f], n.inside[port], ok = port, socket, true
		}
	}
	if n.sentTo[port] == nil {
		n.sentTo[port] = map[netip.AddrPort]bool{}
	}
	n.sentTo[port][to] = true
	return netip.AddrPortFrom(n.ip, port)
}

// in returns the socket that receives a packet, if the NAT lets it in.
func (n *nat) in(from netip.AddrPort, port uint16) (socket int, ok bool) {
	if n.mapping == noMapping && n.filtering == anyone {
		return int(port) - 4000, port >= 4000
	}
	socket, ok = n.inside[port]
	switch {
	case !ok:
	case n.filtering == address:
		ok = false
		for a := range n.sentTo[port] {
			ok = ok || a.Addr() == from.Addr()
		}
	case n.filtering == addressAndPort:
		ok = n.sentTo[port][from]
	}
	if !ok && n.open {
		n.spoiled[from] = true
	}
	return socket, ok
}
