package reach

import (
	"net/netip"
	"slices"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// A Report is all that is known at one moment.
type Report struct {
	Places     []Known // widest scope first
	IPv4, IPv6 NAT
}

// Known is what is known of a place.
type Known struct {
	Candidate
	Addr    wire.Addr
	Told    bool // to others
	Verdict Verdict
}

// NAT is what stands before the node, for one family of addresses.
type NAT struct {
	Mapping wire.Mapping
	Votes   int        // voters that have said where they see us: IPv4 addresses, IPv6 /64
	Outside netip.Addr // the IP at which most of them do; not valid if none does
	Verdict Verdict    // on wherever whoever is asked sees us
}

// Report returns it.
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
