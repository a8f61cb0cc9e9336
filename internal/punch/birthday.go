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
	Scattered = 1536
)

const (
	birthdayPace   = 20 * time.Millisecond
	birthdayProbes = 4    // a pace: 200 a second
	birthdayOpens  = 8    // a pace, of sockets: 400 a second
	birthdayMax    = 1200 // probes
	firstPort      = 1024
	// birthdaySpare is how many probes' credit a search leaves: what it finds has to
	// be asked, and answered.
	birthdaySpare = 20
)

// A birthday is the search for a port of a NAT that gives them at random, by many
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
type birthday struct {
	next time.Time // zero: not now

	// On the side with random ports.
	target netip.AddrPort // of the peer, one for everybody
	open   Opener
	opens  int // left

	// On the other.
	ip   netip.Addr
	left int // probes

	// tried are ports that had a probe: to ask twice is a waste.
	tried map[uint16]struct{}
}

// An Opener opens a socket that has sent nothing yet, and says which it is; false if
// there is none just now. It may close what it opened Sockets sockets before.
type Opener func() (via int, ok bool)

// BirthdayPrice is what the peer must pay for its part in all: what its addresses get
// from the side with random ports, or from the other.
func BirthdayPrice(random bool, ip netip.Addr) int {
	price := cost(netip.AddrPortFrom(ip, 1), Size)
	if random {
		return (Scattered + birthdaySpare) * price
	}
	return (birthdayMax + birthdaySpare) * price
}

// Scatter begins a birthday search on the side with random ports: many sockets send to
// the one address that the peer has.
func (s *Session) Scatter(now time.Time, target netip.AddrPort, open Opener) {
	if Usable(target) {
		s.birthday = birthday{next: later(now, s.begin), target: target, open: open, opens: Scattered}
		s.extend(now)
	}
}

// Search begins one on the other side: it sends to random ports of the peer's NAT.
func (s *Session) Search(now time.Time, ip netip.Addr) {
	if Usable(netip.AddrPortFrom(ip, firstPort)) {
		s.birthday = birthday{next: now, ip: ip.Unmap(), left: birthdayMax, tried: make(map[uint16]struct{})}
		s.extend(now)
	}
}

// EndSearch ends either.
func (s *Session) EndSearch() { s.birthday = birthday{} }

// extend makes time for the search.
func (s *Session) extend(now time.Time) {
	const all = birthdayMax / birthdayProbes * birthdayPace
	s.searchEnd = now.Add(all + time.Second)
	s.end = later(s.end, s.searchEnd)
}

// hit ends the search when the peer's probe comes by one of the many ways.
func (b *birthday) hit(from Endpoint) {
	if b.target.IsValid() && from.Via != 0 || b.ip.IsValid() && from.Addr.Addr() == b.ip {
		b.next = time.Time{}
	}
}

func (s *Session) stepBirthday(now time.Time, send Sender) time.Time {
	b := &s.birthday
	if b.next.IsZero() || s.keys == nil || s.best != nil {
		return time.Time{}
	}
	if now.Before(b.next) {
		return b.next
	}
	b.next = now.Add(birthdayPace)
	if b.target.IsValid() {
		s.scatter(now, send)
		return b.next
	}
	for range birthdayProbes {
		e := Endpoint{s.via, netip.AddrPortFrom(b.ip, s.randomPort())}
		if b.left == 0 {
			b.next = time.Time{}
			break
		}
		if s.credit < (1+birthdaySpare)*cost(e.Addr, Size) {
			break
		}
		s.ping(now, e, send)
		b.left--
	}
	return b.next
}

// scatter opens sockets and sends by them.
func (s *Session) scatter(now time.Time, send Sender) {
	b := &s.birthday
	for range birthdayOpens {
		if b.opens == 0 {
			b.next = time.Time{}
			return
		}
		if s.credit < (1+birthdaySpare)*cost(b.target, Size) {
			return
		}
		via, ok := b.open()
		if !ok {
			return
		}
		s.ping(now, Endpoint{via, b.target}, send)
		b.opens--
	}
}

func (s *Session) randomPort() uint16 {
	for range 64 {
		p := uint16(firstPort + s.rand()%(65536-firstPort))
		if _, ok := s.birthday.tried[p]; !ok {
			s.birthday.tried[p] = struct{}{}
			return p
		}
	}
	return uint16(firstPort + s.rand()%(65536-firstPort))
}
