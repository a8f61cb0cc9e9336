package punch

import (
	"net/netip"
	"time"
)

const (
	// Sockets is how many sockets the side with random ports has open at a time. A NAT
	// that gives each destination another port at random gives that many: of about
	// 64,000, so that one probe in 250 to a random port meets one of them.
	Sockets = 256
	// Scattered is how many it opens in all, each in the place of the oldest.
	TotalSockets = 1536
)

const (
	searchPace      = 20 * time.Millisecond
	probesPerPace   = 4    // a pace: 200 a second
	socketsPerPace  = 8    // a pace, of sockets: 400 a second
	maxSearchProbes = 1200 // probes
	firstPort       = 1024
	// birthdaySpare is how many probes' credit a search leaves: what it finds has to
	// be asked, and answered.
	spareProbes = 20
)

// A portSearch is the search for a port of a NAT that gives them at random, by many
// sockets on that side, and many probes to random ports from the other.
//
// The two meet in either order. A probe may come to a port that one of the sockets has,
// or a socket be given a port that was probed before, whose first packet the other's NAT
// then lets in. There are NATs with which only the latter helps: Linux, if it accepts
// packets to itself, takes one that comes before its inside has sent there for its own,
// and the port from the inside. Therefore the sockets are not opened all at once, but go
// on being opened while the probes go on: after t seconds, of 400 sockets and 200 probes
// in each, the chance that none has met is exp(-0.62t²) with such a NAT, 1 in 1,000 after
// 3.3 s, and less with another.
type portSearch struct {
	next time.Time // zero: not now

	// On the side with random ports.
	target netip.AddrPort // of the peer, one for everybody
	open   SocketOpener
	opens  int // left

	// On the other.
	ip   netip.Addr
	left int // probes

	// tried are ports that had a probe: to ask twice is a waste.
	tried map[uint16]struct{}
}

// An SocketOpener opens a socket that has sent nothing yet, and says which it is; false if
// there is none just now. It may close what it opened Sockets sockets before.
type SocketOpener func() (via int, ok bool)

// SearchCost is what the peer must pay for its part in all: what its addresses get
// from the side with random ports, or from the other.
func SearchCost(random bool, ip netip.Addr) int {
	price := packetCost(netip.AddrPortFrom(ip, 1), Size)
	if random {
		return (TotalSockets + spareProbes) * price
	}
	return (maxSearchProbes + spareProbes) * price
}

// SearchFromSockets begins a birthday search on the side with random ports: many sockets send to
// the one address that the peer has.
func (s *Checklist) SearchFromSockets(now time.Time, target netip.AddrPort, open SocketOpener) {
	if IsUsable(target) {
		s.search = portSearch{next: later(now, s.begin), target: target, open: open, opens: TotalSockets}
		s.extendForSearch(now)
	}
}

// SearchPorts begins one on the other side: it sends to random ports of the peer's NAT.
func (s *Checklist) SearchPorts(now time.Time, ip netip.Addr) {
	if IsUsable(netip.AddrPortFrom(ip, firstPort)) {
		s.search = portSearch{next: now, ip: ip.Unmap(), left: maxSearchProbes, tried: make(map[uint16]struct{})}
		s.extendForSearch(now)
	}
}

// EndSearch ends either.
func (s *Checklist) EndSearch() { s.search = portSearch{} }

// extendForSearch makes time for the search.
func (s *Checklist) extendForSearch(now time.Time) {
	const all = maxSearchProbes / probesPerPace * searchPace
	s.searchEnd = now.Add(all + time.Second)
	s.end = later(s.end, s.searchEnd)
}

// stopIfFound ends the search when the peer's probe comes by one of the many ways.
func (b *portSearch) stopIfFound(from Endpoint) {
	if b.target.IsValid() && from.Via != 0 || b.ip.IsValid() && from.Addr.Addr() == b.ip {
		b.next = time.Time{}
	}
}

func (s *Checklist) stepSearch(now time.Time, send Sender) time.Time {
	b := &s.search
	if b.next.IsZero() || s.keys == nil || s.selected != nil {
		return time.Time{}
	}
	if now.Before(b.next) {
		return b.next
	}
	b.next = now.Add(searchPace)
	if b.target.IsValid() {
		s.openSockets(now, send)
		return b.next
	}
	for range probesPerPace {
		e := Endpoint{s.via, netip.AddrPortFrom(b.ip, s.randomPort())}
		if b.left == 0 {
			b.next = time.Time{}
			break
		}
		if s.credit < (1+spareProbes)*packetCost(e.Addr, Size) {
			break
		}
		s.sendPing(now, e, send)
		b.left--
	}
	return b.next
}

// openSockets opens sockets and sends by them.
func (s *Checklist) openSockets(now time.Time, send Sender) {
	b := &s.search
	for range socketsPerPace {
		if b.opens == 0 {
			b.next = time.Time{}
			return
		}
		if s.credit < (1+spareProbes)*packetCost(b.target, Size) {
			return
		}
		via, ok := b.open()
		if !ok {
			return
		}
		s.sendPing(now, Endpoint{via, b.target}, send)
		b.opens--
	}
}

func (s *Checklist) randomPort() uint16 {
	for range 64 {
		p := uint16(firstPort + s.rand()%(65536-firstPort))
		if _, ok := s.search.tried[p]; !ok {
			s.search.tried[p] = struct{}{}
			return p
		}
	}
	return uint16(firstPort + s.rand()%(65536-firstPort))
}
