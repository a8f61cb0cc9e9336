package search

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kadquic/kadquic/internal/background"
	"github.com/kadquic/kadquic/internal/lookup"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// A ConflictError says that a compare-and-set found another version than it expected, and
// has stored nothing.
type ConflictError struct {
	Key  routing.Key
	Want uint64      // the sequence number expected; 0: none
	Seq  uint64      // that found; 0: no live version, so an ended one is remembered
	Peer wire.PeerID // the node that has it
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("key %s: sequence %d stands, expected %d", e.Key, e.Seq, e.Want)
}

// ErrNoArbiter says that none of the nodes that may decide a compare-and-set has answered.
var ErrNoArbiter = errors.New("no arbiter has answered")

// How long to wait for an arbiter that is busy: for the first time, and at most.
const busyWait, maxBusyWait = 50 * time.Millisecond, 2 * time.Second

// CompareAndPut stores an owned record if the version that stands has the sequence number
// seq, 0 if there is to be none. Otherwise the error is a *ConflictError. The nearest node
// that answers is the arbiter, so that one of two writers wins. If none answers, the error
// is ErrNoArbiter, and Stored says why.
func (s *Searcher) CompareAndPut(ctx context.Context, r *wire.Signed, quorum int, seq uint64) (Stored, error) {
	arbiter, st, err := s.decide(ctx, r, seq)
	if err != nil {
		return st, err
	}
	st, err = s.Put(ctx, r, quorum)
	if st.IsStale() {
		if conflict := s.overruled(ctx, arbiter, r, seq); conflict != nil {
			return Stored{}, conflict
		}
	}
	return st, err
}

// decide asks the arbiter to accept r in the place of the version with sequence number seq,
// and returns which node that was.
func (s *Searcher) decide(ctx context.Context, r *wire.Signed, seq uint64) (wire.PeerID, Stored, error) {
	key := r.Record.Key
	// Writers that pass over different peers may both win, so be more patient than in a get.
	c := s.collect(Query{Key: key, Kind: wire.KindOwned, Quorum: All,
		patience: func(q lookup.Query) time.Duration { return 2 * s.host.Patience(q) }}, nil)
	out, err := c.lookUp(ctx)
	if err != nil {
		return wire.PeerID{}, Stored{}, err
	}
	best, found := c.bestOf(r.Record.Publisher)
	if found && best.Record.Record.Seq > seq {
		return wire.PeerID{}, Stored{}, &ConflictError{key, seq, best.Record.Record.Seq, best.From}
	}
	causes := out.Causes()
	for _, arbiter := range s.arbiters(key, out) {
		if found && !c.has(arbiter, best.Record) { // it does not know the version that stands
			s.StoreAt(ctx, arbiter, best.Record, nil)
		}
		err := s.StoreAt(ctx, arbiter, r, &seq)
		for wait := busyWait; errors.Is(err, s.Busy) && wait < maxBusyWait; wait *= 2 { // another writer waits for the same arbiter
			if background.Sleep(ctx, wait) != nil {
				break
			}
			err = s.StoreAt(ctx, arbiter, r, &seq)
		}
		switch {
		case err == nil:
			return arbiter, Stored{}, nil
		case errors.Is(err, wire.CodeConflict):
			return arbiter, Stored{}, s.conflict(ctx, arbiter, r, seq)
		case ctx.Err() != nil:
			return arbiter, Stored{}, err
		}
		causes[arbiter] = err
	}
	return wire.PeerID{}, Stored{Alone: out.Answered() == 0, Answered: out.Answered(), Causes: causes}, ErrNoArbiter
}

// arbiters returns the nodes of which the first that answers decides: the nearest nodes
// found, busy ones included.
func (s *Searcher) arbiters(key routing.Key, out *lookup.Outcome) []wire.PeerID {
	var ids []wire.PeerID
	for c := range out.Closest() {
		ids = append(ids, c.Addr.ID)
	}
	for id, cause := range out.Causes() {
		if errors.Is(cause, s.Busy) {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b wire.PeerID) int { return key.CompareDistance(a.Key(), b.Key()) })
	return ids
}

// conflict finds out which version the arbiter has in place of the one expected.
func (s *Searcher) conflict(ctx context.Context, arbiter wire.PeerID, r *wire.Signed, seq uint64) error {
	e := &ConflictError{Key: r.Record.Key, Want: seq, Peer: arbiter}
	if arbiter == s.self {
		e.Seq, _ = s.Store().Seq(time.Now(), e.Key)
		return e
	}
	if held, ok := s.versionAt(ctx, arbiter, r); ok {
		e.Seq = held.Record.Record.Seq
	}
	return e
}

// versionAt asks one node which version of an owned record it has.
func (s *Searcher) versionAt(ctx context.Context, id wire.PeerID, r *wire.Signed) (Result, bool) {
	c := s.collect(Query{Key: r.Record.Key, Kind: wire.KindOwned}, nil)
	if id == s.self {
		c.addReply(s.Store().Get(time.Now(), c.kind, c.key, 1), id, nil)
	} else if p, page, err := c.page(ctx, id, wire.PeerID{}, 0); err == nil {
		c.addReply(page.records, id, p)
	}
	return c.bestOf(r.Record.Publisher)
}

// overruled returns an error when another version than r stands elsewhere, though the
// arbiter still has r: another arbiter has accepted it, and r will give way to it. A
// version that came by the same arbiter has replaced r there first.
func (s *Searcher) overruled(ctx context.Context, arbiter wire.PeerID, r *wire.Signed, seq uint64) error {
	other, ok := s.standing(ctx, r)
	if !ok {
		return nil
	}
	if held, ok := s.versionAt(ctx, arbiter, r); !ok || wire.Newer(held.Record, r) {
		return nil
	}
	return &ConflictError{r.Record.Key, seq, other.Record.Record.Seq, other.From}
}
