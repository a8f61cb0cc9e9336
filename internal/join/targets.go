package join

import (
	"slices"
	"sync"

	"github.com/kadquic/kadquic/wire"
)

// A Target is a peer through which to join, and one of its addresses; "" stands for its
// addresses in the peerstore.
type Target struct {
	ID   wire.PeerID
	Addr wire.Addr
}

// targets is the list of peers through which to join, and the state of the attempts. The zero
// value is an empty list. Goroutines may share it.
type targets struct {
	mu     sync.Mutex
	list   []Target      // replaced, never changed
	failed error         // of the latest attempt to meet one; nil if it succeeded, or none has ended
	trying int           // attempts under way
	ended  chan struct{} // closed when no attempt is under way any more; nil: no goroutine waits
}

func (ts *targets) begin() {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.trying++
}

func (ts *targets) end(err error) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.failed = err
	if ts.trying--; ts.trying == 0 && ts.ended != nil {
		close(ts.ended)
		ts.ended = nil
	}
}

// underway returns a channel that is closed when no attempt is under way any more; nil if
// none is.
func (ts *targets) underway() <-chan struct{} {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.trying > 0 && ts.ended == nil {
		ts.ended = make(chan struct{})
	}
	return ts.ended
}

// state returns the list, and the error of the latest attempt.
func (ts *targets) state() ([]Target, error) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return ts.list, ts.failed
}

// add adds targets that are not in the list yet.
func (ts *targets) add(more []Target) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for _, t := range more {
		if !slices.Contains(ts.list, t) {
			ts.list = append(slices.Clone(ts.list), t)
		}
	}
}
