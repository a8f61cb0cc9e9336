package reach

import (
	"net/netip"
	"slices"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// A Report is a snapshot of a Self.
type Report struct {
	Places     []Known // widest scope first
	IPv4, IPv6 NAT
}

// Known describes one candidate.
type Known struct {
	Candidate
	Addr    wire.Addr
	Told    bool // announced to peers
	Verdict Verdict
}

// NAT describes the NAT in front of the node for one address family.
type NAT struct {
	Mapping wire.Mapping
	Votes   int        // voters that reported where they see the node: IPv4 addresses, IPv6 /64s
	Outside netip.Addr // the IP at which most of them see it; invalid if there is none
	Verdict Verdict    // on SeenBy of the family
}

// Report returns a snapshot.
func (s *Self) Report(now time.Time) Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	var r Report
	told := s.addrsLocked(now)
	for _, p := range s.candidatesLocked(now) {
		if a := wire.AddrFrom(p.At); a != "" {
			r.Places = append(r.Places, Known{Candidate: p, Addr: a, Told: slices.Contains(told, a), Verdict: s.verdicts[p.At]})
		}
	}
	r.IPv4, r.IPv6 = s.natLocked(true, now), s.natLocked(false, now)
	return r
}

func (s *Self) natLocked(is4 bool, now time.Time) NAT {
	nat := NAT{Outside: s.votes.outside(is4), Verdict: s.verdicts[SeenBy(is4)]}
	nat.Mapping, nat.Votes = s.mappingLocked(is4, now)
	return nat
}
