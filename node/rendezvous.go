package node

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

const (
	// Waits between two looks at who is at a rendezvous, doubled each time.
	minLookWait, maxLookWait = time.Second, 30 * time.Second
	// partingTime is how long it may take to tell others that we are not there any more.
	partingTime = time.Second
)

// Rendezvous meets those who name the same key: who are interested in the same, play
// the same game or sit in the same room. It tells the network that this node provides
// the key, and yields the other peers that do, as they are found, until ctx ends or the
// caller breaks off; then it takes back what it told. It looks every thirty seconds, at
// first more often, and yields a peer again each time it finds it. That somebody is
// found does not mean that they are there still, or know more than the key.
func (n *Node) Rendezvous(ctx context.Context, key routing.Key) iter.Seq[wire.PeerID] {
	return func(yield func(wire.PeerID) bool) {
		defer func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), partingTime)
			defer cancel()
			n.StopProviding(ctx, key) // who does not hear of it forgets us in time
		}()
		told := errors.New("not yet")
		for wait := minLookWait; ctx.Err() == nil && n.running() == nil; wait = min(2*wait, maxLookWait) {
			if told != nil {
				_, told = n.Provide(ctx, key) // from then on the node keeps it up
			}
			for p, err := range n.FindProviders(ctx, key) {
				if err == nil && p.ID != n.id && !yield(p.ID) {
					return
				}
			}
			select {
			case <-time.After(wait):
			case <-ctx.Done():
			case <-n.ctx.Done():
			}
		}
	}
}
