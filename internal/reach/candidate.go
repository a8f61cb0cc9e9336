package reach

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// RecheckAfter is how long the list of the machine's interfaces is used: listing them for every
// HELLO would cost a system call each.
const RecheckAfter = 5 * time.Second

// A Candidate is an address at which the node may be reachable, and its source.
type Candidate struct {
	At     netip.AddrPort
	Own    bool // the machine has it
	Mapped bool // the router says that it forwards it
	Votes  int  // networks that see the node there
}

// ownLocked returns the addresses of the sockets, as the machine has them.
func (s *Self) ownLocked(now time.Time) []netip.AddrPort {
	if !s.listed.IsZero() && now.Sub(s.listed) < RecheckAfter {
		return s.own
	}
	s.own, s.listed = nil, now
	var machine []Interface
	if s.config.Machine != nil && slices.ContainsFunc(s.listen, func(l netip.AddrPort) bool { return l.Addr().IsUnspecified() }) {
		machine = s.config.Machine()
	}
	s.machine.Store(&machine)
	for _, l := range s.listen {
		if l.Addr().IsUnspecified() {
			s.own = append(s.own, s.interfaces(l, machine)...)
		} else {
			s.own = append(s.own, l)
		}
	}
	return s.own
}

// interfaces returns the addresses of the machine at which a socket listens that is bound to
// an unspecified address.
func (s *Self) interfaces(l netip.AddrPort, machine []Interface) (aps []netip.AddrPort) {
	for _, i := range machine {
		ip := i.Prefix.Addr()
		if at := ScopeOf(ip); at == ScopeNone || at == ScopeLink || l.Addr().Is4() && !ip.Is4() || s.ipv6Only[l] && ip.Is4() {
			continue
		}
		aps = append(aps, netip.AddrPortFrom(ip, l.Port()))
	}
	return aps
}

// enough returns how many networks must see the node at an address: one if it knows no other
// peers.
func (s *Self) enough() int {
	if s.config.Alone != nil && s.config.Alone() {
		return 1
	}
	return MinVotes
}

// Candidates returns the addresses at which the node may be reachable, the widest scope first,
// and within a scope the likeliest first.
func (s *Self) Candidates(now time.Time) []Candidate {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.candidatesLocked(now)
}

func (s *Self) candidatesLocked(now time.Time) []Candidate {
	counts := s.votes.counts()
	var places []Candidate
	for _, at := range s.ownLocked(now) {
		if !slices.ContainsFunc(places, func(p Candidate) bool { return p.At == at }) {
			places = append(places, Candidate{At: at, Own: true, Votes: counts[at]})
		}
		delete(counts, at)
	}
	for _, at := range s.mapped {
		if slices.ContainsFunc(places, func(p Candidate) bool { return p.At == at }) {
			continue
		}
		places = append(places, Candidate{At: at, Mapped: true, Votes: counts[at]})
		delete(counts, at)
	}
	enough := s.enough()
	for at, n := range counts {
		if n >= enough {
			places = append(places, Candidate{At: at, Votes: n})
		}
	}
	slices.SortFunc(places, func(a, b Candidate) int {
		return cmp.Or(cmp.Compare(b.scope(), a.scope()), compareBool(b.Own, a.Own),
			cmp.Compare(s.localRankLocked(a), s.localRankLocked(b)), cmp.Compare(b.Votes, a.Votes), a.At.Compare(b.At))
	})
	return places
}

// localRankLocked is localRank for an address of this machine. Other candidates come from
// peers or the router, and have rank 0.
func (s *Self) localRankLocked(p Candidate) int {
	if !p.Own {
		return 0
	}
	return localRank(s.interfaceOf(p.At.Addr()), p.Votes > 0)
}

func (p Candidate) scope() Scope { return ScopeOf(p.At.Addr()) }

// Addrs returns the addresses to announce: the widest scope first, and within a scope those that
// strangers have reached; at most wire.MaxAddrs, and at least one of each scope and
// family. It leaves out an unreachable address once another of the same family is known to be
// reachable, and an address that only the router names until peers confirm it.
func (s *Self) Addrs(now time.Time) []wire.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addrsLocked(now)
}

func (s *Self) addrsLocked(now time.Time) []wire.Addr {
	places := s.candidatesLocked(now)
	reached := func(p Candidate) bool { return s.verdicts[p.At].Answer() == Yes }
	slices.SortStableFunc(places, func(a, b Candidate) int {
		return cmp.Or(cmp.Compare(b.scope(), a.scope()), compareBool(reached(b), reached(a)))
	})
	var likely []Candidate
	enough := s.enough()
	for _, p := range places {
		if p.Mapped && p.Votes < enough && !reached(p) {
			continue
		}
		another := func(q Candidate) bool { return reached(q) && q.At.Addr().Is4() == p.At.Addr().Is4() }
		if s.verdicts[p.At].Answer() == No && slices.ContainsFunc(places, another) {
			continue
		}
		likely = append(likely, p)
	}
	likely = Cover(likely, wire.MaxAddrs, func(p Candidate) netip.Addr { return p.At.Addr() })
	var addrs []wire.Addr
	for _, p := range likely {
		if a := wire.AddrFrom(p.At); a != "" && len(addrs) < wire.MaxAddrs {
			addrs = append(addrs, a)
		}
	}
	return addrs
}

// NeedsVotes reports whether the node's addresses rest on votes alone, and too few of them are
// recent: the node would lose a candidate when they expire.
func (s *Self) NeedsVotes(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, at := range s.ownLocked(now) {
		if ScopeOf(at.Addr()) == ScopeGlobal {
			return false
		}
	}
	return s.votes.fresh(now.Add(-keepVotesFor)) < MinVotes
}
