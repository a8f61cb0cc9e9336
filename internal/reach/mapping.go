package reach

import (
	"net/netip"
	"slices"

	"github.com/kadquic/kadquic/wire"
)

const (
	// MinScattered is how many networks must each see another port before we
	// say that ports depend on the destination.
	MinScattered = 3
	// maxStep is how far apart sequential ports may be: others use the NAT, too.
	// Of random ports, even of 128, half are farther apart than 300.
	maxStep = 16
)

// mapping concludes from the votes of public peers what stands before the socket
// that most of one family have seen, and returns how many votes that were. isOwn
// tells the node's own addresses.
func (v *votes) mapping(is4 bool, isOwn func(netip.AddrPort) bool) (wire.Mapping, int) {
	seen := make(map[uint16][]netip.AddrPort)
	var most []netip.AddrPort
	for key, vote := range v.of {
		if vote.addr.Addr().Is4() != is4 || ScopeOf(vote.by) != ScopeGlobal || ScopeOf(vote.addr.Addr()) != ScopeGlobal {
			continue
		}
		seen[key.socket] = append(seen[key.socket], vote.addr)
		if len(seen[key.socket]) > len(most) {
			most = seen[key.socket]
		}
	}
	counts := make(map[netip.AddrPort]int)
	var favourite netip.AddrPort
	for _, addr := range most {
		counts[addr]++
		if counts[addr] > counts[favourite] {
			favourite = addr
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
	if medianStep(most) <= maxStep {
		return wire.MappingSequential, len(most)
	}
	return wire.MappingRandom, len(most)
}

// medianStep is how far ports lie apart, in their order. The order of time would
// say more of a NAT that nobody else uses, but dials cross.
func medianStep(seen []netip.AddrPort) int {
	var ports, steps []int
	for _, addr := range seen {
		ports = append(ports, int(addr.Port()))
	}
	slices.Sort(ports)
	for i := range ports[1:] {
		steps = append(steps, ports[i+1]-ports[i])
	}
	slices.Sort(steps)
	return steps[len(steps)/2]
}
