// Package rendezvous finds the peers that use the same key: it provides the key as long as a
// caller attends, and yields the other providers again and again.
package rendezvous

import (
	"context"
	"iter"
	"sync"
	"time"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

const (
	// Waits between two searches for the other providers, doubled each time.
	minWait, maxWait = time.Second, 30 * time.Second
	// leaveTimeout bounds how long it may take to tell peers that the node has left.
	leaveTimeout = time.Second
)

// A Host is the node that meets peers. Goroutines share it.
type Host interface {
	// Err returns an error once the node is closed, or if it was not started.
	Err() error
	// Done is closed when the node ends.
	Done() <-chan struct{}
	// IsProvided reports whether the node provides a key.
	IsProvided(key routing.Key) bool
	// Provide makes the node a provider of a key, which it keeps up until StopProviding.
	Provide(ctx context.Context, key routing.Key) error
	StopProviding(ctx context.Context, key routing.Key) error
	// Providers yields the other providers of a key, or an error. No error says that there
	// are none, or that the node is closed.
	Providers(ctx context.Context, key routing.Key) iter.Seq2[wire.PeerID, error]
}

// Keys are the keys at which callers attend. Make it with [New]. Goroutines may share it.
type Keys struct {
	host Host

	mu sync.Mutex
	of map[routing.Key]*attendance
}

// An attendance is the calls of Attend under way for one key.
type attendance struct {
	calls int
	kept  bool // the program provides the key by itself
}

// New makes Keys without any key.
func New(host Host) *Keys { return &Keys{host: host, of: make(map[routing.Key]*attendance)} }

// Attend provides a key and yields its other providers until ctx ends or the caller breaks
// off. Then it stops providing the key, unless the program provides it by itself, or another
// Attend of that key goes on. Errors come with a zero ID; Attend goes on after them unless the
// node is closed.
func (k *Keys) Attend(ctx context.Context, key routing.Key) iter.Seq2[wire.PeerID, error] {
	return func(yield func(wire.PeerID, error) bool) {
		k.enter(key)
		defer k.leave(ctx, key)
		fail := func(err error) bool { return ctx.Err() != nil || yield(wire.PeerID{}, err) }
		provided := false
		for wait := minWait; ctx.Err() == nil; wait = min(2*wait, maxWait) {
			if err := k.host.Err(); err != nil {
				fail(err)
				return
			}
			if !provided {
				err := k.host.Provide(ctx, key)
				provided = err == nil
				if err != nil && k.host.Err() == nil && !fail(err) {
					return
				}
			}
			for id, err := range k.host.Providers(ctx, key) {
				if err != nil && !fail(err) || err == nil && !yield(id, nil) {
					return
				}
			}
			select {
			case <-time.After(wait):
			case <-ctx.Done():
			case <-k.host.Done():
			}
		}
	}
}

// Keep notes that the program provides a key by itself.
func (k *Keys) Keep(key routing.Key) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if a := k.of[key]; a != nil {
		a.kept = true
	}
}

// enter counts a call. A key that is provided already stays so.
func (k *Keys) enter(key routing.Key) {
	kept := k.host.IsProvided(key)
	k.mu.Lock()
	defer k.mu.Unlock()
	a := k.of[key]
	if a == nil {
		a = &attendance{kept: kept}
		k.of[key] = a
	}
	a.calls++
}

// leave undoes enter, and stops providing the key if it was the last call and the program does
// not provide the key by itself. Peers that do not hear of it forget the node in time.
func (k *Keys) leave(ctx context.Context, key routing.Key) {
	k.mu.Lock()
	a := k.of[key]
	a.calls--
	last := a.calls == 0
	if last {
		delete(k.of, key)
	}
	k.mu.Unlock()
	if last && !a.kept {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
		defer cancel()
		k.host.StopProviding(ctx, key)
	}
}
