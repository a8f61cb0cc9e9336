package node

import (
	"context"
	"slices"

	"github.com/kadquic/kadquic/internal/replica"
	"github.com/kadquic/kadquic/internal/store"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// newReplica makes the replicator, which keeps copies of records on the nodes that are to hold
// them.
func (n *Node) newReplica() *replica.Replicator {
	return replica.New(replica.Config{
		Self:       n.id,
		K:          n.config.K,
		Table:      n.routes,
		Host:       replicaHost{n},
		Background: n.background,
		Logger:     n.config.Logger,
		Interval:   n.config.RepublishInterval,
	})
}

// replicaHost is the node as the replicator sees it.
type replicaHost struct{ n *Node }

func (h replicaHost) IsServer() bool     { return h.n.mode() == wire.ModeServer }
func (h replicaHost) IsIsolated() bool   { return h.n.joiner.IsIsolated() }
func (h replicaHost) Store() store.Store { return h.n.values }

func (h replicaHost) Connect(ctx context.Context, id wire.PeerID) (limited bool, err error) {
	l, err := h.n.link(ctx, id)
	if err != nil {
		return false, err
	}
	return l.stores != nil, nil
}

func (h replicaHost) Request(ctx context.Context, id wire.PeerID, m wire.Message) (wire.Message, error) {
	_, answer, err := h.n.request(ctx, id, m)
	return answer, err
}

func (h replicaHost) LookUp(ctx context.Context, kind string, target routing.Key, seeds ...contact) ([]contact, error) {
	out, err := h.n.lookups.Nodes(ctx, kind, target, seeds...)
	if err != nil {
		return nil, err
	}
	return slices.Collect(out.Closest()), nil
}

func (h replicaHost) Ping(ctx context.Context, id wire.PeerID) {
	ctx, cancel := context.WithTimeout(ctx, h.n.config.RPCTimeout)
	defer cancel()
	h.n.ping(ctx, id)
}
