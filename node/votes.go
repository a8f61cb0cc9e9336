package node

import (
	"net/netip"
	"slices"
	"time"

	"github.com/kadquic/kadquic/internal/reach"
)

const (
	// minVotes is how many networks must see us at an address before we believe
	// it: one liar cannot make us tell others of a place where we are not.
	minVotes = 2
	maxVotes = 128
	// voteLife is how long a vote counts after its voter was last connected.
	// Mappings of NATs that are used no more live for minutes (RFC 4787 §4.3).
	voteLife = 10 * time.Minute
)

// votes say where others see us. Each network, an IPv4 /24 or an IPv6 /64, has
// one vote for each of our sockets, the latest of its peers'. The zero value has
// none; time is an argument; goroutines must not share it.
type votes struct {
	of map[voter]vote
}

// A voter is a network, and our socket by its port.
type voter struct {
	network netip.Prefix
	socket  uint16
}

type vote struct {
	by   netip.Addr
	addr netip.AddrPort
	at   time.Time // when the voter last stood by it
}

// cast takes in that a peer at by sees socket at addr, and reports whether that
// is new.
func (v *votes) cast(by netip.Addr, socket uint16, addr netip.AddrPort, now time.Time) bool {
	key := voter{reach.NetworkOf(by), socket}
	before, voted := v.of[key]
	if !voted && len(v.of) >= maxVotes {
		v.dropOldest()
	}
	if v.of == nil {
		v.of = make(map[voter]vote)
	}
	v.of[key] = vote{by, addr, now}
	return before.addr != addr
}

// stand is cast for a peer that is connected still and has said nothing new: what
// another of its network has said since stays.
func (v *votes) stand(by netip.Addr, socket uint16, addr netip.AddrPort, now time.Time) {
	if before, voted := v.of[voter{reach.NetworkOf(by), socket}]; !voted || before.addr == addr {
		v.cast(by, socket, addr, now)
	}
}

func (v *votes) dropOldest() {
	var oldest voter
	var at time.Time
	for key, vote := range v.of {
		if at.IsZero() || vote.at.Before(at) {
			oldest, at = key, vote.at
		}
	}
	delete(v.of, oldest)
}

// expire drops the votes that have ended, and reports whether there were any.
func (v *votes) expire(now time.Time) (any bool) {
	for key, vote := range v.of {
		if now.Sub(vote.at) > voteLife {
			delete(v.of, key)
			any = true
		}
	}
	return any
}

// counts returns how many votes each address has.
func (v *votes) counts() map[netip.AddrPort]int {
	counts := make(map[netip.AddrPort]int)
	for _, vote := range v.of {
		counts[vote.addr]++
	}
	return counts
}

// Mapping says what a NAT in front of the node does to the addresses that others
// see, RFC 4787 §4.1.
type Mapping uint8

const (
	// MappingUnknown: fewer than two networks have said where they see us, or
	// they contradict one another.
	MappingUnknown Mapping = iota
	// MappingNone: others see the node's own address. A firewall may be there.
	MappingNone
	// MappingIndependent: one outside address whoever is on the other side.
	MappingIndependent
	// MappingSequential: another outside port for each destination, the next or
	// nearly so.
	MappingSequential
	// MappingRandom: another outside port for each destination, at random.
	MappingRandom
)

func (m Mapping) String() string {
	switch m {
	case MappingNone:
		return "none"
	case MappingIndependent:
		return "endpoint-independent"
	case MappingSequential:
		return "endpoint-dependent, sequential"
	case MappingRandom:
		return "endpoint-dependent, random"
	}
	return "unknown"
}

const (
	// minScattered is how many networks must each see another port before we
	// say that ports depend on the destination.
	minScattered = 3
	// maxStep is how far apart sequential ports may be: others use the NAT, too.
	// Of random ports, even of 128, half are farther apart than 300.
	maxStep = 16
)

// mapping concludes from the votes of public peers what stands before the socket
// that most of one family have seen, and returns how many votes that were. isOwn
// tells the node's own addresses.
func (v *votes) mapping(is4 bool, isOwn func(netip.AddrPort) bool) (Mapping, int) {
	seen := make(map[uint16][]netip.AddrPort)
	var most []netip.AddrPort
	for key, vote := range v.of {
		if vote.addr.Addr().Is4() != is4 || reach.ScopeOf(vote.by) != reach.ScopeGlobal || reach.ScopeOf(vote.addr.Addr()) != reach.ScopeGlobal {
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
	case agree >= minVotes && 2*agree > len(most):
		if isOwn(favourite) {
			return MappingNone, len(most)
		}
		return MappingIndependent, len(most)
	case len(most) < minScattered || len(counts) < len(most)*2/3:
		return MappingUnknown, len(most)
	}
	if medianStep(most) <= maxStep {
		return MappingSequential, len(most)
	}
	return MappingRandom, len(most)
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

// besides returns how many networks other than one see us at an address.
func (v *votes) besides(addr netip.AddrPort, not netip.Prefix) (count int) {
	for key, vote := range v.of {
		if vote.addr == addr && key.network != not {
			count++
		}
	}
	return count
}

// outside returns the public IP of a family at which most networks see us.
func (v *votes) outside(is4 bool) (most netip.Addr) {
	counts := make(map[netip.Addr]int)
	for _, vote := range v.of {
		ip := vote.addr.Addr()
		if ip.Is4() != is4 || reach.ScopeOf(ip) != reach.ScopeGlobal {
			continue
		}
		if counts[ip]++; counts[ip] > counts[most] || counts[ip] == counts[most] && ip.Less(most) {
			most = ip
		}
	}
	return most
}

// fresh returns how many public networks have stood by where they see us since.
func (v *votes) fresh(since time.Time) (count int) {
	for _, vote := range v.of {
		if reach.ScopeOf(vote.by) == reach.ScopeGlobal && !vote.at.Before(since) {
			count++
		}
	}
	return count
}
