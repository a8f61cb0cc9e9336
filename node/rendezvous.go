package node

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/kadquic/kadquic/internal/publish"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

const (
	// Waits between two searches for the peers of a rendezvous, doubled each time.
	minLookWait, maxLookWait = time.Second, 30 * time.Second
	// partingTime is how long it may take to tell others that we are not there any more.
	partingTime = time.Second
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
		n.rendezvous.enter(key, n.provides(key))
		defer func() {
			if !n.rendezvous.leave(key) {
				return
			}
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), partingTime)
			defer cancel()
			n.StopProviding(ctx, key) // peers that do not hear of it forget us in time
		}()
		fail := func(err error) bool {
			return ctx.Err() != nil || yield(wire.PeerID{}, fmt.Errorf("rendezvous at %s: %w", key, err))
		}
		told := false
		for wait := minLookWait; ctx.Err() == nil; wait = min(2*wait, maxLookWait) {
			if err := n.running(); err != nil {
				fail(err)
				return
			}
			if !told {
				_, err := n.put(ctx, key, nil, PutOptions{Kind: wire.KindProvider})
				told = err == nil // from then on the node keeps it up
				if err != nil && n.running() == nil && !fail(err) {
					return
				}
			}
			for p, err := range n.FindProviders(ctx, key) {
				switch {
				case errors.Is(err, ErrNotFound), errors.Is(err, ErrClosed):
				case err != nil:
					if !fail(err) {
						return
					}
				case p.ID != n.id && !yield(p.ID, nil):
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

// provides reports whether the node keeps a provider record of that key alive.
func (n *Node) provides(key routing.Key) bool {
	return n.publications.Has(publish.Key{Kind: wire.KindProvider, Key: key})
}

// rendezvous are the keys at which the program is. Goroutines share it.
type rendezvous struct {
	mu sync.Mutex
	at map[routing.Key]*attendance
}

// An attendance is the calls of Rendezvous under way for one key.
type attendance struct {
	calls int
	keep  bool // the program provides the key by itself
}

// enter counts a call; with keep the key is provided already.
func (r *rendezvous) enter(key routing.Key, keep bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at == nil {
		r.at = make(map[routing.Key]*attendance)
	}
	a := r.at[key]
	if a == nil {
		a = &attendance{keep: keep}
		r.at[key] = a
	}
	a.calls++
}

// leave undoes enter, and reports whether the node should stop providing the key.
func (r *rendezvous) leave(key routing.Key) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.at[key]
	if a.calls--; a.calls > 0 {
		return false
	}
	delete(r.at, key)
	return !a.keep
}

// keep notes that the program provides the key by itself.
func (r *rendezvous) keep(key routing.Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a := r.at[key]; a != nil {
		a.keep = true
	}
}
