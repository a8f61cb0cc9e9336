package reach

import (
	"net/netip"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// independent returns how many of the failures count: the largest number of them in which no
// peer and no asked network occurs twice. A peer counts once, because it may be unlucky each
// time; a network counts once, because it may name any peer.
//
// Counting each failure as it arrives, if its peer and network are new, is not enough. Of three
// public nodes A, B and C, the first two may name each other; C can then name only these,
// which are counted already, and no other peer can be asked. If A has named C before, or does
// so later, there are three: A by C, B by A and C by B. So all failures are kept, and the result
// is the size of the largest matching of a bipartite graph, found by augmenting paths.
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

// A failure is the report of a peer that it could not connect, and the network of the peer
// that was asked.
type failure struct {
	by  wire.PeerID
	via netip.Prefix
	at  time.Time
}
