package reach

import (
	"net/netip"
	"slices"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// Seen counts the networks of public peers that see the node at an address of its
// own, and elsewhere, and whether somebody to whom it had sent nothing has reached
// it.
func (s *Self) Seen(now time.Time) (here, elsewhere int, reached bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seenLocked(now)
}

func (s *Self) seenLocked(now time.Time) (here, elsewhere int, reached bool) {
	for _, v := range s.verdicts {
		reached = reached || v.Answer() == Yes
	}
	own := s.ownLocked(now)
	for _, vote := range s.votes.of { // each a network: a NAT may show each another port
		switch {
		case ScopeOf(vote.by) != ScopeGlobal || ScopeOf(vote.addr.Addr()) != ScopeGlobal:
		case slices.Contains(own, vote.addr):
			here++
		default:
			elsewhere++
		}
	}
	return here, elsewhere, reached
}

// looksNATedLocked reports whether public peers see the node where it is not itself,
// and nobody to whom it had sent nothing has reached it.
func (s *Self) looksNATedLocked(now time.Time) bool {
	here, elsewhere, reached := s.seenLocked(now)
	return !reached && elsewhere >= s.enough() && elsewhere > here
}

// MayRelay reports whether those who call are likely to reach the node: some
// public peer sees it where it is itself, or somebody has come in unbidden, though it
// alone says where, as the first does who comes to a rented machine whose address is
// translated. One of whom no public peer has said anything is in a network of its own,
// and serves there.
func (s *Self) MayRelay(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	here, elsewhere, reached := s.seenLocked(now)
	return reached || here > 0 || elsewhere == 0 || !s.came.IsZero()
}

// Mapping says what stands before us for one family of addresses, and how many
// networks have said so.
func (s *Self) Mapping(is4 bool, now time.Time) (wire.Mapping, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mappingLocked(is4, now)
}

func (s *Self) mappingLocked(is4 bool, now time.Time) (wire.Mapping, int) {
	own := s.ownLocked(now)
	return s.votes.mapping(is4, func(a netip.AddrPort) bool { return slices.Contains(own, a) })
}
