package simnet

import (
	"errors"
	"net"
	"net/netip"
)

// A NAT translates the addresses of hosts behind it (RFC 4787). Its mapping is
// endpoint-independent unless it is symmetric; its filtering is address- and
// port-dependent. Mappings do not expire. Make one with [Network.NAT]; it is safe for
// concurrent use.
type NAT struct {
	network   *Network
	outside   netip.Addr
	symmetric bool

	// Guarded by network.mu.
	next  uint16
	out   map[pair]uint16                    // inside address and, if symmetric, destination
	in    map[uint16]netip.AddrPort          // external port to inside address
	peers map[uint16]map[netip.AddrPort]bool // to which an external port has sent
}

// NAT adds a NAT with one external address. The external port of a mapping that is made
// after a Reset differs from that before it.
func (n *Network) NAT(outside netip.Addr, symmetric bool) *NAT {
	t := &NAT{network: n, outside: outside.Unmap(), symmetric: symmetric, next: 20000}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.nats == nil {
		n.nats, n.behind = make(map[netip.Addr]*NAT), make(map[netip.Addr]*NAT)
	}
	n.nats[t.outside] = t
	t.reset()
	return t
}

// Listen opens a socket of a host behind the NAT. The other hosts of the network do not
// reach the address; those behind the same NAT do. The socket has a method OpenPort,
// which opens another on the same host.
func (t *NAT) Listen(inside netip.AddrPort) net.PacketConn {
	t.Attach(inside.Addr())
	return insider{t.network.Listen(inside).(*conn)}
}

// Attach moves a host with its sockets behind the NAT, from behind another. The address
// of the host does not change.
func (t *NAT) Attach(host netip.Addr) {
	t.network.mu.Lock()
	defer t.network.mu.Unlock()
	t.network.behind[host.Unmap()] = t
}

// Reset forgets all mappings, as a reboot does.
func (t *NAT) Reset() {
	t.network.mu.Lock()
	defer t.network.mu.Unlock()
	t.reset()
}

func (t *NAT) reset() {
	t.out, t.in = make(map[pair]uint16), make(map[uint16]netip.AddrPort)
	t.peers = make(map[uint16]map[netip.AddrPort]bool)
}

// outward translates the source of a packet from an inside host; with network.mu held.
func (t *NAT) outward(from, to netip.AddrPort) netip.AddrPort {
	key := pair{from: from}
	if t.symmetric {
		key.to = to
	}
	port, ok := t.out[key]
	if !ok {
		t.next += 7
		port = t.next
		t.out[key], t.in[port] = port, from
		t.peers[port] = make(map[netip.AddrPort]bool)
	}
	t.peers[port][to] = true
	return netip.AddrPortFrom(t.outside, port)
}

// inward translates the destination of a packet to the NAT; false if it is filtered.
// With network.mu held.
func (t *NAT) inward(from, to netip.AddrPort) (netip.AddrPort, bool) {
	return t.in[to.Port()], t.peers[to.Port()][from]
}

// translate returns a packet's source and destination after all NATs on its way; false
// if one of them drops it. With n.mu held.
func (n *Network) translate(from, to netip.AddrPort) (source, destination netip.AddrPort, ok bool) {
	sender, receiver := n.behind[from.Addr()], n.behind[to.Addr()]
	if receiver != nil {
		return from, to, sender == receiver
	}
	if sender != nil {
		from = sender.outward(from, to)
	}
	if n.parted[hosts{from.Addr(), to.Addr()}] {
		return from, to, false
	}
	if t := n.nats[to.Addr()]; t != nil {
		to, ok = t.inward(from, to)
		return from, to, ok
	}
	return from, to, true
}

type hosts struct{ a, b netip.Addr }

// Part has packets between two external addresses vanish, both ways and whatever the
// ports; Join lets them pass again.
func (n *Network) Part(a, b netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.parted == nil {
		n.parted = make(map[hosts]bool)
	}
	n.parted[hosts{a, b}], n.parted[hosts{b, a}] = true, true
}

// Join undoes Part.
func (n *Network) Join(a, b netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.parted, hosts{a, b})
	delete(n.parted, hosts{b, a})
}

// An insider is a socket of a host behind a NAT.
type insider struct{ *conn }

// OpenPort opens another socket on the host, on a free port.
func (c insider) OpenPort() (net.PacketConn, error) {
	for port := c.addr.Port() + 1; port != c.addr.Port(); port++ {
		if port == 0 {
			continue
		}
		if s := c.network.listen(netip.AddrPortFrom(c.addr.Addr(), port)); s != nil {
			return insider{s}, nil
		}
	}
	return nil, errors.New("simnet: all ports of the host are taken")
}
