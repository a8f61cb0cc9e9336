package reach

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/kadquic/kadquic/wire"
)

const (
	// maxStep is how far apart sequential ports may be: others use the NAT, too.
	maxStep = 16
	// window is how many ports are compared. Among more of them neighbours are close
	// whatever the NAT does: of 20 random ports in a block of 512, which carriers give
	// to a subscriber (RFC 7753), most are less than maxStep apart; of 5, one time in 70.
	window = 5
)

// mapping derives, from the votes of public peers, the NAT in front of the socket that most voters
// of one family have seen, and returns the number of these votes. isOwn reports whether an
// address is one of the node's own.
func (v *votes) mapping(is4 bool, isOwn func(netip.AddrPort) bool) (wire.Mapping, int) {
	seen := make(map[uint16][]vote)
	var most []vote
	for _, vote := range v.of {
		if vote.addr.Addr().Is4() != is4 || ScopeOf(vote.by) != ScopeGlobal || ScopeOf(vote.addr.Addr()) != ScopeGlobal {
			continue
		}
		seen[vote.socket] = append(seen[vote.socket], vote)
		if len(seen[vote.socket]) > len(most) {
			most = seen[vote.socket]
		}
	}
	counts := make(map[netip.AddrPort]int)
	var favourite netip.AddrPort
	for _, vote := range most {
		counts[vote.addr]++
		if counts[vote.addr] > counts[favourite] {
			favourite = vote.addr
		}
	}
	switch agree := counts[favourite]; {
	case agree >= MinVotes && 2*agree > len(most):
		if isOwn(favourite) {
			return wire.MappingNone, len(most)
		}
		return wire.MappingIndependent, len(most)
	case len(most) < MinScattered || len(counts) < len(most)*2/3:
		return wire.MappingUnknown, len(most)
	}
	if medianStep(together(most)) <= maxStep {
		return wire.MappingSequential, len(most)
	}
	return wire.MappingRandom, len(most)
}

// together returns the votes, window of them at most, that first came within the
// shortest time; of equals the latest. The fewest others have used the NAT between them.
func together(all []vote) []vote {
	all = slices.SortedFunc(slices.Values(all), func(a, b vote) int { return cmp.Compare(a.first, b.first) })
	if len(all) <= window {
		return all
	}
	best := all[:window]
	for i := range len(all) - window + 1 {
		if some := all[i : i+window]; spread(some) <= spread(best) {
			best = some
		}
	}
	return best
}

func spread(some []vote) time.Duration { return some[len(some)-1].since.Sub(some[0].since) }

// medianStep returns the median distance between neighbouring port numbers. The order in time
// would tell more about a NAT with a single user, but dials cross.
func medianStep(seen []vote) int {
	var ports, steps []int
	for _, vote := range seen {
		ports = append(ports, int(vote.addr.Port()))
	}
	slices.Sort(ports)
	for i := range ports[1:] {
		steps = append(steps, ports[i+1]-ports[i])
	}
	slices.Sort(steps)
	return steps[len(steps)/2]
}
