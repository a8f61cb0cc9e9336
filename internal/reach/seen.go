package reach

import (
	"net/netip"
	"slices"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// Seen counts the public voters that see the node at an address of its own, and
// elsewhere, and whether somebody to whom it had sent nothing has reached it.
func (s *Self) Seen(now time.Time) (here, elsewhere int, reached bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	here4, elsewhere4 := s.seenLocked(true, now)
	here6, elsewhere6 := s.seenLocked(false, now)
	return here4 + here6, elsewhere4 + elsewhere6, s.reachedLocked()
}

// seenLocked counts the public voters that see the node at an address of its own, and
// elsewhere, by one family of addresses.
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

// reachedLocked reports whether somebody to whom nothing had been sent has come in.
func (s *Self) reachedLocked() bool {
	for _, v := range s.verdicts {
		if v.Answer() == Yes {
			return true
		}
	}
	return false
}

// looksNATedLocked reports whether public peers see the node where it is not itself, by
// one family or the other, and nobody to whom it had sent nothing has reached it.
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

// MayRelay reports whether those who call are likely to reach the node: some
// public peer sees it where it is itself, or somebody has come in unbidden, though it
// alone says where, as the first does who comes to a rented machine whose address is
// translated. One of whom no public peer has said anything is in a network of its own,
// and serves there.
func (s *Self) MayRelay(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	here4, elsewhere4 := s.seenLocked(true, now)
	here6, elsewhere6 := s.seenLocked(false, now)
	return s.reachedLocked() || here4+here6 > 0 || elsewhere4+elsewhere6 == 0 || !s.came.IsZero()
}

// Mapping says what stands before us for one family of addresses, and how many
// voters have said so.
func (s *Self) Mapping(is4 bool, now time.Time) (wire.Mapping, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mappingLocked(is4, now)
}

func (s *Self) mappingLocked(is4 bool, now time.Time) (wire.Mapping, int) {
	own := s.ownLocked(now)
	return s.votes.mapping(is4, func(a netip.AddrPort) bool { return slices.Contains(own, a) })
}
