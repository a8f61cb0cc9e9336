package node

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/wire"
)

const (
	askForVotes  = time.Minute        // at most so often
	maxRelinked  = reach.MinVotes + 1 // peers to which a node that has moved connects again
	relinkWithin = 10 * time.Second
)

// lookWhere finds out whether the machine has moved to another network: its packets then leave
// from another address, and reports about the old addresses are void.
func (n *Node) lookWhere(ctx context.Context) {
	if !n.onMachine {
		return
	}
	moved := false
	for _, is4 := range []bool{true, false} {
		moved = n.routeChanged(is4) || moved
	}
	if moved {
		n.moved(ctx)
	}
}

// routeChanged asks the machine, without sending anything, from which address it
// sends to some peer, always the same one. An address that has gone without another
// in its place is no move: the network is down.
func (n *Node) routeChanged(is4 bool) bool {
	a := n.reachProbe
	a.mu.Lock()
	r := a.sourceAddrs[is4]
	a.mu.Unlock()
	if !r.to.IsValid() {
		for _, k := range n.routes.Refs() {
			if at, ok := globalAddr(k, func(a netip.Addr) bool { return a.Is4() == is4 }); ok {
				r.to = at
				break
			}
		}
	}
	from := sourceTo(r.to)
	if !from.IsValid() {
		return false
	}
	changed := r.from.IsValid() && r.from != from
	r.from = from
	a.mu.Lock()
	a.sourceAddrs[is4] = r
	a.mu.Unlock()
	return changed
}

// sourceTo is the address from which the machine would send to another.
func sourceTo(to netip.Addr) netip.Addr {
	if !to.IsValid() {
		return netip.Addr{}
	}
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, 9))) // which sends nothing
	if err != nil {
		return netip.Addr{}
	}
	defer c.Close()
	return addrPortOf(c.LocalAddr()).Addr()
}

// moved forgets how peers see and reach the node, and asks some of them again. It replaces
// unused connections, because a peer notices only later that an old one comes from a new
// address, and reports it later still.
func (n *Node) moved(ctx context.Context) {
	n.config.Logger.Info("the machine has moved to another network")
	now := time.Now()
	n.self.Moved(now)
	n.record.recheck()
	n.reachProbe.rounds.Forget()
	var again []wire.PeerID
	for _, l := range n.links.all() {
		n.self.MarkContacted(l.conn.RemoteAddr(), now) // at least a keep-alive, or a goodbye
		l.sees.Store(nil)
		if len(again) < maxRelinked && l.mayAnswer() && !l.conn.Held() {
			again = append(again, l.id)
			l.close()
		}
	}
	for _, k := range n.routes.Refs() {
		if _, ok := globalAddr(k, func(netip.Addr) bool { return true }); ok && len(again) < maxRelinked && !slices.Contains(again, k.ID) {
			again = append(again, k.ID)
		}
	}
	n.spawn(func() {
		ctx, cancel := context.WithTimeout(ctx, relinkWithin)
		defer cancel()
		var wg sync.WaitGroup
		for _, id := range again {
			wg.Go(func() { n.link(ctx, id) }) // one that cannot be met is noted by dial
		}
		wg.Wait()
		n.reachProbe.poke()
	})
}

// keepVotes pings some peers for their votes if the node's address rests on votes alone and too
// few are recent. The votes of an idle node would otherwise expire, and it would no longer
// announce its address.
func (n *Node) keepVotes(ctx context.Context, now time.Time) {
	a := n.reachProbe
	a.mu.Lock()
	due := now.Sub(a.pinged) >= askForVotes && n.self.NeedsVotes(now)
	if due {
		a.pinged = now
	}
	a.mu.Unlock()
	if !due {
		return
	}
	type candidate struct {
		id      wire.PeerID
		network netip.Prefix
	}
	var all []candidate
	for _, k := range n.routes.Refs() {
		if at, ok := globalAddr(k, func(netip.Addr) bool { return true }); ok {
			all = append(all, candidate{k.ID, reach.NetworkOf(at)})
		}
	}
	shuffle(all)
	// Choose the same peers each time: the others become strangers after ten minutes, and can
	// then prove that the node is reachable.
	slices.SortStableFunc(all, func(a, b candidate) int {
		return compareBool(n.self.HasVoted(b.network), n.self.HasVoted(a.network))
	})
	asked := make(map[netip.Prefix]bool)
	for _, c := range all {
		if len(asked) > reach.MinVotes {
			break
		}
		if !asked[c.network] {
			asked[c.network] = true
			n.probe(c.id)
		}
	}
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
