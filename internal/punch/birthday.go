package punch

import (
	"net/netip"
	"time"
)

// Sockets is how many sockets the side with random ports opens. A NAT that gives each
// destination another port at random gives that many: of about 64,000, so that one
// probe in 250 to a random port meets one of them.
const Sockets = 256

const (
	birthdayWait   = 100 * time.Millisecond // for what is simpler
	birthdayPace   = 20 * time.Millisecond
	birthdayProbes = 4    // a pace: 200 a second
	birthdayOpens  = 16   // a pace, of sockets
	birthdayMax    = 2000 // probes, of which 999 of 1,000 attempts need fewer
	firstPort      = 1024
	// birthdaySpare is how many probes' credit a search leaves: what it finds has to
	// be asked, and answered.
	birthdaySpare = 20
)

// A birthday is the search for a port of a NAT that gives them at random, by many
// sockets on that side, and many probes to random ports from the other.
type birthday struct {
	next time.Time // zero: not now

	// On the side with random ports.
	target  netip.AddrPort // of the peer, one for everybody
	sockets []int          // that have sent nothing yet

	// On the other.
	ip   netip.Addr
	left int // probes

	// tried are ports that had a probe: to ask twice is a waste.
	tried map[uint16]struct{}
}

// BirthdayPrice is what the peer must pay for its part in all: what its addresses get
// from the side with random ports, or from the other.
func BirthdayPrice(random bool, ip netip.Addr) int {
	price := cost(netip.AddrPortFrom(ip, 1), Size)
	if random {
		return (Sockets + birthdaySpare) * price
	}
	return (birthdayMax + birthdaySpare) * price
}

// Scatter begins a birthday search on the side with random ports: the sockets send to
// the one address that the peer has.
func (s *Session) Scatter(now time.Time, target netip.AddrPort, sockets []int) {
	if Usable(target) && len(sockets) > 0 {
		s.birthday = birthday{next: later(now, s.begin), target: target, sockets: sockets}
		s.extend(now)
	}
}

// Search begins one on the other side: it sends to random ports of the peer's NAT.
func (s *Session) Search(now time.Time, ip netip.Addr) {
	if Usable(netip.AddrPortFrom(ip, firstPort)) {
		s.birthday = birthday{next: now.Add(birthdayWait), ip: ip.Unmap(), left: birthdayMax, tried: make(map[uint16]struct{})}
		s.extend(now)
	}
}

// extend makes time for the search.
func (s *Session) extend(now time.Time) {
	const all = birthdayMax / birthdayProbes * birthdayPace
	s.searchEnd = now.Add(birthdayWait + all + time.Second)
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
		for range min(birthdayOpens, len(b.sockets)) {
			e := Endpoint{b.sockets[0], b.target}
			if s.credit < (1+birthdaySpare)*cost(e.Addr, Size) {
				return b.next
			}
			s.ping(now, e, send)
			b.sockets = b.sockets[1:]
		}
		if len(b.sockets) == 0 {
			b.next = time.Time{}
		}
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
