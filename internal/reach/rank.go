package reach

import (
	"cmp"
	"net/netip"
	"slices"
)

// A host may have dozens of addresses: one for each bridge of its containers, say.
// Every list that takes only some of them takes the first in the order below, and of
// each kind at least one (Cover).

// An Interface is an address of one of the machine's interfaces.
type Interface struct {
	Prefix  netip.Prefix // the address, and how many of its bits are the subnet's
	Default bool         // packets to the internet leave from this address
	Virtual bool         // of a bridge or tunnel of containers or virtual machines
}

// localRank ranks an address of the machine: peers are likelier to reach a lower rank. An
// address is confirmed if a peer sees the node there.
func localRank(i Interface, confirmed bool) int {
	switch {
	case i.Default:
		return 0
	case confirmed:
		return 1
	case !i.Virtual:
		return 2
	}
	return 3
}

// remoteRank ranks an address of a peer by how likely this machine reaches the peer there: on
// the LAN of the default route, over the internet, on another LAN of this machine, elsewhere. A
// private address in the subnet of a bridge belongs to a local container rather than the peer.
func remoteRank(a netip.Addr, ours []Interface) int {
	if scope := ScopeOf(a); scope == ScopeGlobal {
		for _, i := range ours {
			if i.Prefix.Addr().Is4() == a.Is4() && (a.Is4() || ScopeOf(i.Prefix.Addr()) == ScopeGlobal) {
				return 1
			}
		}
		return 4 // of a family that this machine lacks
	} else if scope != ScopePrivate {
		return 5
	}
	rank := 3
	for _, i := range ours {
		if !i.Prefix.Masked().Contains(a) {
			continue
		}
		switch {
		case i.Prefix.Addr() == a:
			return 6
		case i.Default:
			return 0
		case i.Virtual:
			rank = 5
		case rank == 3:
			rank = 2
		}
	}
	return rank
}

// A kind groups addresses that the same peers can reach.
type kind struct {
	scope Scope
	is4   bool
}

// Cover reorders addresses, given the best first, so that the first n hold the best ones and,
// as far as n allows, one of each scope and family that occurs. Otherwise the order stays.
// All invalid addresses form a separate kind.
func Cover[A any](all []A, n int, at func(A) netip.Addr) []A {
	if len(all) <= n {
		return all
	}
	keep := make([]bool, len(all))
	kept := 0
	seen := make(map[kind]bool)
	for i, a := range all {
		ip := at(a)
		k := kind{ScopeOf(ip), ip.Is4()}
		if !seen[k] && kept < n {
			seen[k], keep[i] = true, true
			kept++
		}
	}
	for i := range all {
		if !keep[i] && kept < n {
			keep[i] = true
			kept++
		}
	}
	index := make([]int, len(all))
	for i := range index {
		index[i] = i
	}
	slices.SortStableFunc(index, func(a, b int) int { return compareBool(keep[b], keep[a]) })
	ordered := make([]A, len(all))
	for i, from := range index {
		ordered[i] = all[from]
	}
	return ordered
}

// told returns the addresses of the machine's interfaces, as it told them last.
func (s *Self) told() []Interface {
	if m := s.machine.Load(); m != nil {
		return *m
	}
	return nil
}

// interfaceOf returns what the machine said of one of its addresses.
func (s *Self) interfaceOf(a netip.Addr) Interface {
	for _, i := range s.told() {
		if i.Prefix.Addr() == a {
			return i
		}
	}
	return Interface{}
}

// Rank compares addresses that a peer has told, for slices.SortStableFunc: those at
// which this machine is likely to reach the peer come first. It takes no lock.
func (s *Self) Rank(a, b netip.Addr) int {
	ours := s.told()
	if len(ours) == 0 {
		return 0
	}
	return cmp.Compare(remoteRank(a, ours), remoteRank(b, ours))
}

// compareBool orders false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
