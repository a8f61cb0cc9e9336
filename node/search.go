package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/kadquic/kadquic/internal/search"
	"github.com/kadquic/kadquic/internal/store"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// newSearch makes the searcher, which finds and stores records in the network.
func (n *Node) newSearch(validators *search.Validators) *search.Searcher {
	return search.New(search.Config{
		Lookups:    n.lookups,
		Background: n.background,
		Validators: validators,
		Logger:     n.config.Logger,
		Store:      func() store.Store { return n.values },
		Closer:     n.routes.Closer,
		RPCTimeout: n.config.RPCTimeout,
		Busy:       ErrBusy,
	})
}

// publish stores a record on the k nodes nearest to its key.
func (n *Node) publish(ctx context.Context, r *wire.Signed, quorum int) (Stored, error) {
	s, _, err := n.storeWhileLookingUp(ctx, r, quorum)
	return s, err
}

// storeWhileLookingUp is publish, and reports whether any peer has a newer version.
func (n *Node) storeWhileLookingUp(ctx context.Context, r *wire.Signed, quorum int) (s Stored, stale bool, err error) {
	n.joiner.Await(ctx)
	st, err := n.search.Put(ctx, r, quorum)
	s, err = n.putResult(r.Record.Key, st, quorum, err)
	return s, st.IsStale(), err
}

// compareAndPut stores a record if the version that stands has the sequence number seq.
func (n *Node) compareAndPut(ctx context.Context, r *wire.Signed, quorum int, seq uint64) (Stored, error) {
	key := r.Record.Key
	n.joiner.Await(ctx)
	st, err := n.search.CompareAndPut(ctx, r, quorum, seq)
	if conflict, ok := errors.AsType[*search.ConflictError](err); ok {
		return Stored{Key: key}, fmt.Errorf("put: %w", (*ConflictError)(conflict))
	}
	if errors.Is(err, search.ErrNoArbiter) {
		s := Stored{Key: key}
		return s, fmt.Errorf("put %s: %w", key, &PutError{Stored: s, Alone: st.Alone, Causes: st.Causes})
	}
	return n.putResult(key, st, quorum, err)
}

// putResult says where a put has stored its record, and whether that is an error.
func (n *Node) putResult(key routing.Key, st search.Stored, quorum int, err error) (Stored, error) {
	s := Stored{Key: key, Count: st.Count, Of: st.Of}
	switch {
	case err != nil && st.Causes == nil: // no request was sent
		return s, fmt.Errorf("put %s: %w", key, err)
	case err != nil:
		return s, fmt.Errorf("put %s: %w (%v so far)", key, err, s)
	}
	var cutOff error
	if st.Answered == 0 {
		cutOff = n.joiner.CutOff()
	}
	if st.Alone || cutOff != nil || s.Count < max(quorum, 1) {
		err := error(&PutError{Stored: s, Quorum: quorum, Alone: st.Alone, Causes: st.Causes, CutOff: cutOff})
		if fault := n.clockFault(); fault != nil && refusedForTime(st.Causes) {
			err = fmt.Errorf("%w; %w", err, fault)
		}
		return s, err
	}
	return s, nil
}

// refusedForTime reports whether a peer refused a record because of its expiry, by the peer's clock.
func refusedForTime(causes map[wire.PeerID]error) bool {
	for _, cause := range causes {
		if errors.Is(cause, wire.CodeAhead) || errors.Is(cause, wire.CodeExpired) {
			return true
		}
	}
	return false
}
