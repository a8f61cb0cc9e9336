package node

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/kadquic/kadquic/internal/peerref"
	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/peerstore"
	"github.com/kadquic/kadquic/wire"
)

// A node tells others only the addresses at which it has authenticated a peer. Two
// dual-stack nodes authenticate each other by IPv6, so an IPv4-only node would learn of
// no peer. Therefore a node also probes a contact in its routing table at an address of
// the other family, with probeDialBack.

// families remembers which peers were probed at their other family. The zero value is
// empty; goroutines may share it.
type families struct {
	mu    sync.Mutex
	tried map[wire.PeerID]time.Time
}

const (
	familyAgain = 10 * time.Minute
	maxFamilies = 4096
)

// due reports whether a peer has not been probed within familyAgain. If so, it records
// the peer as probed now. It is false if maxFamilies peers were probed within familyAgain.
func (f *families) due(id wire.PeerID, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if at, ok := f.tried[id]; ok && now.Sub(at) < familyAgain {
		return false
	}
	if len(f.tried) >= maxFamilies {
		for old, at := range f.tried {
			if now.Sub(at) >= familyAgain {
				delete(f.tried, old)
			}
		}
		if len(f.tried) >= maxFamilies {
			return false
		}
	}
	if f.tried == nil {
		f.tried = make(map[wire.PeerID]time.Time)
	}
	f.tried[id] = now
	return true
}

// seekOtherFamily probes a contact in the background at a global address from the
// contact's record, of the family by which this node has not reached it yet.
func (n *Node) seekOtherFamily(k *peerref.Ref) {
	if n.fresh == nil {
		return
	}
	r := n.peers.Record(k.ID)
	if r == nil {
		return
	}
	contact := n.routes.Contains(k.Key)
	info, err := r.Record.PeerInfo()
	if err != nil || !contact {
		return
	}
	have := map[bool]bool{}
	for _, a := range k.Addrs() {
		if ap, ok := a.AddrPort(); ok {
			have[ap.Addr().Is4()] = true
		}
	}
	i := slices.IndexFunc(info.Addrs, func(a wire.Addr) bool {
		ap, ok := a.AddrPort()
		return ok && reach.ScopeOf(ap.Addr()) == reach.ScopeGlobal && !have[ap.Addr().Is4()] && n.hasFamily(ap.Addr())
	})
	if i < 0 || !n.families.due(k.ID, time.Now()) {
		return
	}
	a := info.Addrs[i]
	n.tryInBackground(n.repairs, func(ctx context.Context) {
		to, _ := a.AddrPort()
		if n.probeDialBack(ctx, to, k.ID) == nil {
			n.peers.Add(k.ID, peerstore.SourceDialled, time.Now(), 0, a)
			n.verified(k)
		}
	})
}

// hasFamily reports whether this machine has an address of the family of a: any IPv4
// address, or a global IPv6 address.
func (n *Node) hasFamily(a netip.Addr) bool {
	return slices.ContainsFunc(n.reachCandidates(), func(p reach.Candidate) bool {
		return p.Own && p.At.Addr().Is4() == a.Is4() && (a.Is4() || reach.ScopeOf(p.At.Addr()) == reach.ScopeGlobal)
	})
}
