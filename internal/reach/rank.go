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

// localRank orders addresses of the machine: those at which others are likely to reach
// it come first. A confirmed one is an address at which some peer sees the node.
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

// remoteRank orders addresses that a peer has told by how likely it is that this
// machine reaches the peer there: on the LAN of the default route, by the internet, on
// another LAN of ours, elsewhere. A private address in the subnet of a bridge is one of
// our own containers rather than the peer.
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

// A kind is what addresses have in common that the same peers reach.
type kind struct {
	scope Scope
	is4   bool
}

// Cover orders addresses, the best first, so that the first n are the best of which at
// least one is of each scope and family that there is, as far as n allows. The order
// stays the same otherwise. An address that is not valid is a kind of its own.
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
