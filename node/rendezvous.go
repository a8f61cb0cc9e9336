package node

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/kadquic/kadquic/internal/publish"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// Rendezvous finds the peers that use the same key: the same interest, game or room. It provides
// the key, and yields the other providers as it finds them, until ctx ends or the caller breaks
// off. Then it stops providing the key, unless the program provides it by [Node.Provide]
// itself, or another Rendezvous of that key goes on. It searches every thirty seconds, at
// first more often, and yields a peer again each time it finds it. A peer that is found may
// have left already, and proves only that it knows the key.
//
// An error comes with a zero ID: providing the key, or the search for providers, has failed.
// Rendezvous then tries again, unless the node is closed or was not started. The end of ctx
// is an error only if it has ended before the call.
func (n *Node) Rendezvous(ctx context.Context, key routing.Key) iter.Seq2[wire.PeerID, error] {
	return func(yield func(wire.PeerID, error) bool) {
		if err := n.ready(ctx); err != nil {
			yield(wire.PeerID{}, fmt.Errorf("rendezvous at %s: %w", key, err))
			return
		}
		for id, err := range n.rendezvous.Attend(ctx, key) {
			if err != nil {
				err = fmt.Errorf("rendezvous at %s: %w", key, err)
			}
			if !yield(id, err) {
				return
			}
		}
	}
}

// rendezvousHost is the node as its rendezvous see it.
type rendezvousHost struct{ n *Node }

func (h rendezvousHost) Err() error            { return h.n.running() }
func (h rendezvousHost) Done() <-chan struct{} { return h.n.ctx.Done() }

func (h rendezvousHost) IsProvided(key routing.Key) bool {
	return h.n.publications.Has(publish.Key{Kind: wire.KindProvider, Key: key})
}

func (h rendezvousHost) Provide(ctx context.Context, key routing.Key) error {
	_, err := h.n.put(ctx, key, nil, PutOptions{Kind: wire.KindProvider})
	return err
}

func (h rendezvousHost) StopProviding(ctx context.Context, key routing.Key) error {
	return h.n.StopProviding(ctx, key)
}

func (h rendezvousHost) Providers(ctx context.Context, key routing.Key) iter.Seq2[wire.PeerID, error] {
	return func(yield func(wire.PeerID, error) bool) {
		for p, err := range h.n.FindProviders(ctx, key) {
			if errors.Is(err, ErrNotFound) || errors.Is(err, ErrClosed) || err == nil && p.ID == h.n.id {
				continue
			}
			if !yield(p.ID, err) {
				return
			}
		}
	}
}
