package reach

import (
	"net/netip"
	"slices"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// Seen counts the public voters that see the node at one of the machine's addresses, and those
// that see it elsewhere. reached reports whether a stranger has connected.
func (s *Self) Seen(now time.Time) (here, elsewhere int, reached bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	here4, elsewhere4 := s.seenLocked(true, now)
	here6, elsewhere6 := s.seenLocked(false, now)
	return here4 + here6, elsewhere4 + elsewhere6, s.reachedLocked()
}

// seenLocked is Seen for one address family.
func (s *Self) seenLocked(is4 bool, now time.Time) (here, elsewhere int) {
	own := s.ownLocked(now)
	for _, vote := range s.votes.of { // a NAT may show each another port
		switch {
		case ScopeOf(vote.by) != ScopeGlobal || ScopeOf(vote.addr.Addr()) != ScopeGlobal || vote.addr.Addr().Is4() != is4:
		case slices.Contains(own, vote.addr):
			here++
		default:
			elsewhere++
		}
	}
	return here, elsewhere
}

// reachedLocked reports whether a stranger has connected.
func (s *Self) reachedLocked() bool {
	for _, v := range s.verdicts {
		if v.Answer() == Yes {
			return true
		}
	}
	return false
}

// looksNATedLocked reports whether public peers see the node at an address that the machine
// does not have, in either family, and no stranger has connected.
func (s *Self) looksNATedLocked(now time.Time) bool {
	if s.reachedLocked() {
		return false
	}
	for _, is4 := range []bool{true, false} {
		if here, elsewhere := s.seenLocked(is4, now); elsewhere >= s.enough() && elsewhere > here {
			return true
		}
	}
	return false
}

// MayRelay reports whether callers are likely to reach the node: a public peer sees it at one
// of the machine's addresses, or a stranger has connected. One stranger suffices, because the
// first peer of a rented machine with a translated address is alone. With no public observer,
// the node assumes a private network and serves there.
func (s *Self) MayRelay(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	here4, elsewhere4 := s.seenLocked(true, now)
	here6, elsewhere6 := s.seenLocked(false, now)
	return s.reachedLocked() || here4+here6 > 0 || elsewhere4+elsewhere6 == 0 || !s.came.IsZero()
}

// Mapping returns how the NAT in front of the node maps one address family, and the number
// of voters that the answer rests on.
func (s *Self) Mapping(is4 bool, now time.Time) (wire.Mapping, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mappingLocked(is4, now)
}

func (s *Self) mappingLocked(is4 bool, now time.Time) (wire.Mapping, int) {
	own := s.ownLocked(now)
	return s.votes.mapping(is4, func(a netip.AddrPort) bool { return slices.Contains(own, a) })
}
