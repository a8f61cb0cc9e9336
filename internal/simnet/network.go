// Package simnet simulates a network in memory, for tests. Its sockets are net.PacketConns on
// which real QUIC runs. Its wires delay and lose packets, can be cut and healed, and its
// hosts can die silently.
//
// It uses the links and sockets of quic-go's testutils/simnet, and adds a router that drops
// packets. Inside a testing/synctest bubble hours pass in seconds. Make the network and close
// it inside the same bubble.
//
// The fate of the nth packet from one host to another depends only on the seed, the two
// addresses and n, so the seed determines the faults. It does not determine which goroutine
// runs first, and so which packet is the nth.
package simnet

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/quic-go/quic-go/testutils/simnet"
)

// Options describe a network. The zero value has no delay and loses nothing.
type Options struct {
	// Delay is how long a packet travels one way; a round trip takes twice that.
	Delay time.Duration
	// Jitter is added to the delay: uniformly from 0 to Jitter, for each packet. Packets
	// then overtake one another.
	Jitter time.Duration
	// Loss is the part of the packets that get lost, from 0 to 1.
	Loss float64
	// MTU is the size of the largest packet, in bytes; larger ones vanish.
	// If zero, 1400.
	MTU int
	// Seed fixes which packets are lost, and each one's jitter.
	Seed uint64
}

// Stats count the packets that were sent, and what became of them.
// Sent = Delivered + Lost + Parted + Dead + Strays, once all have arrived.
type Stats struct {
	Sent, SentBytes uint64
	Delivered       uint64 // handed to a socket's link; too large ones vanish there
	Lost            uint64 // by Options.Loss
	Parted          uint64 // between the sides of a partition
	Dead            uint64 // from or to a killed host
	Strays          uint64 // to an address without a socket, or dropped by a NAT
}

// A Network carries packets between the sockets opened on it.
// Make one with [New]. It is safe for concurrent use.
type Network struct {
	opts Options

	mu     sync.Mutex // guards all below; not held while a packet is handed on
	loss   float64
	hosts  map[netip.AddrPort]*conn
	dead   map[netip.AddrPort]bool
	side   map[netip.AddrPort]int // of a partition; nil: there is none
	cut    map[pair]bool          // ends that do not reach each other
	counts map[pair]uint64        // packets sent so far, by their ends
	nats   map[netip.Addr]*NAT    // by external address
	behind map[netip.Addr]*NAT    // by address of a host
	parted map[hosts]bool         // external addresses that do not reach each other
	stats  Stats
}

type pair struct{ from, to netip.AddrPort }

// New returns a network with no hosts.
func New(o Options) *Network {
	if o.MTU == 0 {
		o.MTU = 1400
	}
	return &Network{
		opts: o, loss: o.Loss,
		hosts: make(map[netip.AddrPort]*conn), dead: make(map[netip.AddrPort]bool),
		counts: make(map[pair]uint64),
	}
}

// Listen opens a socket at addr. Closing it frees the address, and brings a killed
// one back to life. It panics if the address is in use or is not the address of a host,
// because then the test is wrong.
func (n *Network) Listen(addr netip.AddrPort) net.PacketConn {
	if !addr.IsValid() || addr.Addr().IsUnspecified() || addr.Port() == 0 {
		panic(fmt.Sprintf("simnet: cannot listen at %v", addr))
	}
	c := n.listen(unmap(addr))
	if c == nil {
		panic(fmt.Sprintf("simnet: somebody listens at %v already", addr))
	}
	return c
}

// listen opens a socket; nil if the address is taken.
func (n *Network) listen(addr netip.AddrPort) *conn {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.hosts[addr] != nil {
		return nil
	}
	c := &conn{network: n, addr: addr, link: &simnet.SimulatedLink{
		UplinkSettings:   simnet.LinkSettings{MTU: n.opts.MTU},
		DownlinkSettings: simnet.LinkSettings{MTU: n.opts.MTU},
		LatencyFunc:      n.latency,
		UploadPacket:     (*router)(n),
	}}
	c.SimConn = simnet.NewBlockingSimConn(net.UDPAddrFromAddrPort(addr), c.link)
	n.hosts[addr] = c
	c.link.Start()
	return c
}

// SetLoss changes the part of the packets that get lost from now on.
func (n *Network) SetLoss(loss float64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.loss = loss
}

// Partition cuts the network into the given groups of hosts and one more of all
// that none of them names, in place of an earlier partition. Packets sent from one
// to another vanish; those on their way still arrive.
func (n *Network) Partition(groups ...[]netip.AddrPort) {
	side := make(map[netip.AddrPort]int)
	for i, g := range groups {
		for _, a := range g {
			side[unmap(a)] = i + 1
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.side = side
}

// Cut has packets between two hosts vanish, both ways; each reaches all others.
func (n *Network) Cut(a, b netip.AddrPort) {
	a, b = unmap(a), unmap(b)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cut == nil {
		n.cut = make(map[pair]bool)
	}
	n.cut[pair{a, b}], n.cut[pair{b, a}] = true, true
}

// Heal ends a partition, and mends what was cut.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.side, n.cut = nil, nil
}

// Kill cuts off the host at addr permanently: nothing it sends leaves, nothing sent to it
// arrives, and neither it nor its peers get a sign. Packets on their way to it are lost.
func (n *Network) Kill(addr netip.AddrPort) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dead[unmap(addr)] = true
}

// Stats returns the counts so far.
func (n *Network) Stats() Stats {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.stats
}

// Close closes the sockets that are still open. When it returns no goroutine of
// the network is left.
func (n *Network) Close() error {
	n.mu.Lock()
	open := make([]*conn, 0, len(n.hosts))
	for _, c := range n.hosts {
		open = append(open, c)
	}
	n.mu.Unlock()
	for _, c := range open {
		c.Close()
	}
	return nil
}

// latency is how long p travels. Its own number is not known here any more, so it
// is told by its content.
func (n *Network) latency(p simnet.Packet) time.Duration {
	if n.opts.Jitter <= 0 {
		return n.opts.Delay
	}
	h := n.opts.Seed
	for _, b := range p.Data[:min(len(p.Data), 64)] {
		h = mix(h ^ uint64(b))
	}
	return n.opts.Delay + time.Duration(unit(h)*float64(n.opts.Jitter))
}

// unmap makes an IPv4 address in IPv6 form plain, so that a host has one name.
func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
