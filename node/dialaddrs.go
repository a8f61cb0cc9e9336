package node

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/internal/swarm"
	"github.com/kadquic/kadquic/peerstore"
	"github.com/kadquic/kadquic/wire"
)

// dialAddrs returns the addresses at which to dial a peer, the best first: addresses where
// this node has authenticated the peer lately, then those that the user gave, then those where
// it authenticated the peer before, then those that other peers named. Within each group the
// addresses that this machine is likely to reach go first; addresses named at the same time
// keep their order. Addresses that failed lately go last. The first swarm.MaxDialAddrs include
// at least one address of each scope and family present.
func (n *Node) dialAddrs(id wire.PeerID) []wire.Addr {
	now := time.Now()
	info, ok := n.peers.Peer(id)
	if !ok {
		return nil
	}
	class := func(a peerstore.AddrInfo) int {
		switch {
		case a.Retry.After(now):
			return 4
		case !a.Success.IsZero() && now.Sub(a.Success) < provenFor:
			return 0
		case a.Source == peerstore.SourceUser:
			return 1
		case !a.Success.IsZero():
			return 2
		}
		return 3
	}
	all := slices.DeleteFunc(info.Addrs, func(a peerstore.AddrInfo) bool { return !a.Expires.IsZero() && !a.Expires.After(now) })
	slices.SortStableFunc(all, func(a, b peerstore.AddrInfo) int {
		return cmp.Or(cmp.Compare(class(a), class(b)), n.self.Rank(ipOf(a.Addr), ipOf(b.Addr)),
			b.Success.Compare(a.Success), cmp.Compare(b.Source, a.Source),
			b.Expires.Truncate(time.Second).Compare(a.Expires.Truncate(time.Second)))
	})
	fresh := all
	if i := slices.IndexFunc(all, func(a peerstore.AddrInfo) bool { return class(a) == 4 }); i >= 0 {
		fresh = all[:i]
	}
	covered := reach.Cover(fresh, swarm.MaxDialAddrs, func(a peerstore.AddrInfo) netip.Addr { return ipOf(a.Addr) })
	var addrs []wire.Addr
	for _, a := range slices.Concat(covered, all[len(fresh):]) {
		addrs = append(addrs, a.Addr)
	}
	return addrs
}

// ipOf returns the IP address of an address. It is not valid if the address holds a name.
func ipOf(a wire.Addr) netip.Addr {
	ap, _ := a.AddrPort()
	return ap.Addr()
}

// hasDialled reports whether this node has reached a peer by dialling an address, and no
// dial to that address has failed since.
func (n *Node) hasDialled(id wire.PeerID, at wire.Addr) bool {
	info, _ := n.peers.Peer(id)
	return slices.ContainsFunc(info.Addrs, func(a peerstore.AddrInfo) bool {
		return a.Addr == at && a.Source == peerstore.SourceDialled && a.Failures == 0
	})
}
