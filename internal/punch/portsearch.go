package punch

import (
	"net/netip"
	"time"
)

const (
	// Sockets is how many sockets the side with random ports has open at a time. Its NAT
	// assigns each of them a random port, of about 64,000: one probe in 250 to a random
	// port hits one of them.
	Sockets = 256
	// TotalSockets is how many it opens in all, each in place of the oldest.
	TotalSockets = 1536
)

const (
	searchPace      = 20 * time.Millisecond
	probesPerPace   = 4 // 200 a second
	socketsPerPace  = 8 // 400 a second
	maxSearchProbes = 1200
	firstPort       = 1024
	// spareProbes is how many probes' credit a search leaves, for the checks of the
	// address that it finds.
	spareProbes = 20
)

// A portSearch searches for a port of a NAT that assigns random ports: that side sends from
// many sockets, the other side to many random ports (the birthday paradox).
//
// Socket and probe may come in either order. A probe may hit the port of an open socket; or
// the NAT assigns a new socket a port that was probed before, and the other side's NAT lets
// in its first packet. With some NATs only the second works: Linux, if it accepts packets to
// itself, takes a probe that comes before any packet from inside as its own, and reassigns
// the port of the socket. Therefore the sockets are opened one after the other while the
// probes go on: after t seconds, with 400 sockets and 200 probes in each, the probability of
// no hit is exp(-0.62t²) with such a NAT, 1 in 1,000 after 3.3 s, and less with others.
type portSearch struct {
	next time.Time // zero: no search is under way

	// On the side with random ports.
	target netip.AddrPort // of the peer, whose NAT maps endpoint-independently
	open   SocketOpener
	opens  int // left

	// On the other.
	ip   netip.Addr
	left int // probes

	// tried are the ports that were probed.
	tried map[uint16]struct{}
}

// A SocketOpener opens an unused socket and returns its number, or false if it cannot. It may
// close the socket that it opened Sockets calls before.
type SocketOpener func() (via int, ok bool)

// SearchCost returns the credit in bytes that a whole search takes: of the side with random
// ports, or of the other side. The peer of that side must send it.
func SearchCost(random bool, ip netip.Addr) int {
	price := packetCost(netip.AddrPortFrom(ip, 1), Size)
	if random {
		return (TotalSockets + spareProbes) * price
	}
	return (maxSearchProbes + spareProbes) * price
}

// stopIfFound ends the search when a probe of the peer has come through one of the many
// sockets or ports.
func (b *portSearch) stopIfFound(from Endpoint) {
	if b.target.IsValid() && from.Via != 0 || b.ip.IsValid() && from.Addr.Addr() == b.ip {
		b.next = time.Time{}
	}
}
