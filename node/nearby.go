package node

import (
	"context"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/internal/swarm"
	"github.com/kadquic/kadquic/peerstore"
	"github.com/kadquic/kadquic/wire"
)

// A Discovery finds peers without asking any: those on the local network, say, so
// that two machines there meet with no configuration and no internet.
type Discovery interface {
	// Discover runs until ctx ends, and leaves nothing behind. It announces the peer self, and
	// calls found with each peer that it finds, again now and then while the peer is there.
	//
	// at returns the current sockets of the node, with an unspecified IP address for those
	// that listen on every interface, and nothing while no peer can join through the node.
	// at and found return at once.
	//
	// The node dials the given addresses, in any scope and without proof. The Discovery must
	// make sure that the peers are near, and bound their number.
	Discover(ctx context.Context, self wire.PeerID, at func() []netip.AddrPort, found func(wire.PeerID, []netip.AddrPort)) error
}

// discover is the task.
func (n *Node) discover(ctx context.Context) {
	var meetings meetings
	err := n.config.Discovery.Discover(ctx, n.id, n.doors, func(id wire.PeerID, at []netip.AddrPort) {
		n.foundNear(&meetings, id, at)
	})
	if err != nil && ctx.Err() == nil {
		n.config.Logger.Warn("peers near are not looked for any more", "err", err)
	}
}

// doors are the sockets that a peer found near may knock at.
func (n *Node) doors() []netip.AddrPort {
	if n.mode() != wire.ModeServer {
		return nil
	}
	var at []netip.AddrPort
	for _, t := range n.transports {
		at = append(at, t.LocalAddr())
	}
	return at
}

// meetings counts those under way.
type meetings struct{ n atomic.Int32 }

// maxMeetings is how many discovered peers are dialled at the same time. A false claim costs one
// slot for the time of a dial, 5 seconds.
const maxMeetings = 8

// foundNear meets a peer that was found near, unless it is known already.
func (n *Node) foundNear(m *meetings, id wire.PeerID, at []netip.AddrPort) {
	if id == n.id || id.IsZero() {
		return
	}
	if n.learnNear(id, at) {
		n.backoff.Clear(id) // that it failed elsewhere says nothing
	}
	if n.knowsWell(id) {
		return
	}
	if m.n.Add(1) > maxMeetings {
		m.n.Add(-1)
		return // it will be found again
	}
	started := n.spawn(func() {
		defer m.n.Add(-1)
		n.meetNear(id)
	})
	if !started {
		m.n.Add(-1)
	}
}

// learnNear notes where a peer is, and reports whether any of it is new.
func (n *Node) learnNear(id wire.PeerID, at []netip.AddrPort) (news bool) {
	now := time.Now()
	known := n.peers.AppendAddrs(nil, id, now)
	at = slices.Clone(at)
	slices.SortStableFunc(at, func(a, b netip.AddrPort) int { return n.self.Rank(a.Addr(), b.Addr()) })
	at = reach.Cover(at, swarm.MaxDialAddrs, netip.AddrPort.Addr)
	for _, ap := range at[:min(len(at), swarm.MaxDialAddrs)] {
		if a := wire.AddrFrom(ap); a != "" {
			n.peers.Add(id, peerstore.SourceTold, now, toldTTL, a)
			news = news || !slices.Contains(known, a)
		}
	}
	return news
}

// knowsWell reports whether a peer is connected, or a contact of the table.
func (n *Node) knowsWell(id wire.PeerID) bool {
	if _, ok := n.pool.Lookup(publicKey(id)); ok {
		return true
	}
	key := n.refs.Of(id).Key
	return n.routes.IsLive(key)
}

// meetNear connects to a peer, and joins the network through it if this node has
// none yet. One that failed lately is left alone: if it is back, it finds us.
func (n *Node) meetNear(id wire.PeerID) {
	ctx, cancel := context.WithTimeout(n.ctx, time.Minute)
	defer cancel()
	alone := n.lonely()
	l, err := n.link(ctx, id)
	if err != nil {
		n.config.Logger.Info("cannot meet a peer found near", "peer", id, "err", err)
		return
	}
	n.config.Logger.Info("met a peer found near", "peer", id, "addr", l.addr)
	if !alone || !l.IsServer() {
		return
	}
	if err := n.settle(ctx); err != nil {
		n.config.Logger.Info("cannot join through a peer found near", "peer", id, "err", err)
	}
}
