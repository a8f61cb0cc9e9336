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

// SearchFromSockets begins a search on the side with random ports: many sockets send to the
// one address of the peer.
func (l *Checklist) SearchFromSockets(now time.Time, target netip.AddrPort, open SocketOpener) {
	if IsUsable(target) {
		l.search = portSearch{next: later(now, l.begin), target: target, open: open, opens: TotalSockets}
		l.extendForSearch(now)
	}
}

// SearchPorts begins a search on the other side: it sends to random ports of the peer's NAT.
func (l *Checklist) SearchPorts(now time.Time, ip netip.Addr) {
	if IsUsable(netip.AddrPortFrom(ip, firstPort)) {
		l.search = portSearch{next: now, ip: ip.Unmap(), left: maxSearchProbes, tried: make(map[uint16]struct{})}
		l.extendForSearch(now)
	}
}

// EndSearch ends the search of either side.
func (l *Checklist) EndSearch() { l.search = portSearch{} }

// extendForSearch extends the checklist by the time of a search.
func (l *Checklist) extendForSearch(now time.Time) {
	const all = maxSearchProbes / probesPerPace * searchPace
	l.searchEnd = now.Add(all + time.Second)
	l.end = later(l.end, l.searchEnd)
}

// stopIfFound ends the search when a probe of the peer has come through one of the many
// sockets or ports.
func (b *portSearch) stopIfFound(from Endpoint) {
	if b.target.IsValid() && from.Via != 0 || b.ip.IsValid() && from.Addr.Addr() == b.ip {
		b.next = time.Time{}
	}
}

func (l *Checklist) stepSearch(now time.Time, send Sender) time.Time {
	b := &l.search
	if b.next.IsZero() || l.keys == nil || l.selected != nil {
		return time.Time{}
	}
	if now.Before(b.next) {
		return b.next
	}
	b.next = now.Add(searchPace)
	if b.target.IsValid() {
		l.openSockets(now, send)
		return b.next
	}
	for range probesPerPace {
		e := Endpoint{l.via, netip.AddrPortFrom(b.ip, l.randomPort())}
		if b.left == 0 {
			b.next = time.Time{}
			break
		}
		if l.credit < (1+spareProbes)*packetCost(e.Addr, Size) {
			break
		}
		l.sendPing(now, e, send)
		b.left--
	}
	return b.next
}

// openSockets opens sockets and sends a probe from each.
func (l *Checklist) openSockets(now time.Time, send Sender) {
	b := &l.search
	for range socketsPerPace {
		if b.opens == 0 {
			b.next = time.Time{}
			return
		}
		if l.credit < (1+spareProbes)*packetCost(b.target, Size) {
			return
		}
		via, ok := b.open()
		if !ok {
			return
		}
		l.sendPing(now, Endpoint{via, b.target}, send)
		b.opens--
	}
}

func (l *Checklist) randomPort() uint16 {
	for range 64 {
		p := uint16(firstPort + l.rand()%(65536-firstPort))
		if _, ok := l.search.tried[p]; !ok {
			l.search.tried[p] = struct{}{}
			return p
		}
	}
	return uint16(firstPort + l.rand()%(65536-firstPort))
}
