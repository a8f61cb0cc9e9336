package reach

import (
	"net/netip"

	"github.com/kadquic/kadquic/wire"
)

// independent is how many of the noes count: as many as can be chosen with no peer in
// two of them, and no network that was asked. One peer counts once, as it may be unlucky
// each time; and so does one network, which may name whom it likes.
//
// To count each no as it comes, if peer and network are new, is not enough. Of three
// public nodes A, B and C the first two may name one another; C can name only those,
// who are counted, and nobody else is there to ask. That A has named C before, or does
// later, makes three of them: A by C, B by A and C by B. So all are kept, and this is
// the size of the largest matching of a bipartite graph, by augmenting paths.
func independent(noes []failure) (count int) {
	of := make(map[wire.PeerID]netip.Prefix) // the network by which a peer is counted
	var assign func(via netip.Prefix, tried map[wire.PeerID]bool) bool
	assign = func(via netip.Prefix, tried map[wire.PeerID]bool) bool {
		for _, n := range noes {
			if n.via != via || tried[n.by] {
				continue
			}
			tried[n.by] = true
			if other, taken := of[n.by]; !taken || assign(other, tried) {
				of[n.by] = via
				return true
			}
		}
		return false
	}
	done := make(map[netip.Prefix]bool)
	for _, n := range noes {
		if !done[n.via] && assign(n.via, make(map[wire.PeerID]bool)) {
			count++
		}
		done[n.via] = true
	}
	return count
}
