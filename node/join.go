package node

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/internal/join"
	"github.com/kadquic/kadquic/internal/lookup"
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

// Bootstrap joins the network through the given peers, each with its /p2p/ID,
// in addition to Config.Bootstrap. It returns when the node has found its
// position in the network: it has looked up its own key and a key in every range
// farther away than its neighbourhood (Kademlia §2.3). It has also connected to some
// of the peers that these lookups named, so that it has up to 5k connections. It tries
// the peers known from an earlier run as well; without arguments, only the peers known
// already. If no peer answers, the error is a *BootstrapError, and the node retries in
// the background.
func (n *Node) Bootstrap(ctx context.Context, peers ...ma.Multiaddr) error {
	if err := n.ready(ctx); err != nil {
		return err
	}
	targets, err := splitBootstrap(peers)
	if err != nil {
		return err
	}
	n.joiner.AddTargets(targets)
	return n.joiner.Join(ctx)
}

// newJoiner makes the joiner, which brings the node into its network and keeps it there.
func (n *Node) newJoiner() *join.Joiner {
	return join.New(join.Config{
		Self:            n.id,
		K:               n.config.K,
		Table:           n.routes,
		Lookups:         n.lookups,
		Host:            joinHost{n},
		Background:      n.background,
		Logger:          n.config.Logger,
		Discovery:       n.config.Discovery,
		RPCTimeout:      n.config.RPCTimeout,
		RefreshInterval: n.config.RefreshInterval,
		Closed:          ErrClosed,
		Unreachable:     ErrUnreachable,
		Failed:          func(causes []error) error { return &BootstrapError{causes} },
	})
}

// joinHost is the node as the joiner sees it.
type joinHost struct{ n *Node }

func (h joinHost) IsServer() bool   { return h.n.mode() == wire.ModeServer }
func (h joinHost) Connections() int { return h.n.pool.Len() }
func (h joinHost) Remember() error  { return h.n.remember() }

func (h joinHost) Meet(ctx context.Context, t join.Target) error {
	if err := h.n.meet(ctx, t); ctx.Err() != nil && err != nil {
		return fmt.Errorf("peer %s has not answered yet: %w", t.ID, err)
	} else if err != nil {
		return err
	}
	if p, ok := h.n.peers.Peer(t.ID); ok && p.Mode == wire.ModeClient {
		return fmt.Errorf("peer %s is a client, through which nobody can join", t.ID)
	}
	return nil
}

func (h joinHost) AddUserAddr(id wire.PeerID, addr wire.Addr) {
	h.n.peers.Add(id, peerstore.SourceUser, time.Now(), 0, addr)
}

func (h joinHost) Connect(ctx context.Context, id wire.PeerID) (join.Peer, error) {
	return h.n.link(ctx, id)
}

func (h joinHost) IsConnected(id wire.PeerID) bool {
	_, ok := h.n.pool.Lookup(publicKey(id))
	return ok
}

func (h joinHost) DialTimeout(id wire.PeerID) time.Duration {
	return h.n.softTimeout(lookup.Query{Contact: h.n.refs.Of(id).Contact()})
}

func (h joinHost) AddNearbyAddrs(id wire.PeerID, at []netip.AddrPort) {
	now, news := time.Now(), false
	known := h.n.peers.AppendAddrs(nil, id, now)
	at = slices.Clone(at)
	slices.SortStableFunc(at, func(a, b netip.AddrPort) int { return h.n.self.Rank(a.Addr(), b.Addr()) })
	at = reach.Cover(at, swarm.MaxDialAddrs, netip.AddrPort.Addr)
	for _, ap := range at[:min(len(at), swarm.MaxDialAddrs)] {
		if a := wire.AddrFrom(ap); a != "" {
			h.n.peers.Add(id, peerstore.SourceTold, now, toldTTL, a)
			news = news || !slices.Contains(known, a)
		}
	}
	if news {
		h.n.backoff.Clear(id) // that it failed elsewhere says nothing
	}
}

func (h joinHost) ListenAddrs() []netip.AddrPort {
	var at []netip.AddrPort
	for _, t := range h.n.transports {
		at = append(at, t.LocalAddr())
	}
	return at
}

func (h joinHost) Met(ctx context.Context) { h.n.probeBeforeJoin(ctx) }

func (h joinHost) Joined(met bool) {
	h.n.replica.Settle() // the peers that a node meets while it joins are not newcomers
	if met {
		h.n.relays.Wake() // the node knows now whether it is behind a NAT
		h.n.reachProbe.poke()
	}
}
