package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kadquic/kadquic/internal/lookup"
	"github.com/kadquic/kadquic/internal/store"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// ErrConflict is what a *ConflictError is: another version stands than was
// expected.
var ErrConflict = errors.New("another version stands")

// A ConflictError says that a compare-and-set found another version than it
// expected, and has stored nothing.
type ConflictError struct {
	Key  routing.Key
	Want uint64      // the sequence number expected; 0: none
	Seq  uint64      // that found; 0: none that is alive, so one that has ended is remembered
	Peer wire.PeerID // who has it
}

func (e *ConflictError) Error() string {
	want := fmt.Sprintf("sequence %d", e.Want)
	if e.Want == 0 {
		want = "none"
	}
	found := fmt.Sprintf("%v: sequence %d", ErrConflict, e.Seq)
	switch {
	case e.Seq == 0 && e.Want == 0:
		found = "a version that has ended is still remembered"
	case e.Seq == 0:
		found = "no version stands"
	}
	return fmt.Sprintf("key %s: %s, expected %s", e.Key, found, want)
}

func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// PutIf stores value, at most 8 KiB, as this node's owned record of that name, if
// the version that stands has the sequence number seq: 0 if there is to be none.
// Otherwise the error is ErrConflict, a *ConflictError, and nothing is stored.
// It is how several writers who share a key change one record and lose nothing:
// get, change, PutIf with Value.Seq, and from the start again at ErrConflict.
//
// The nearest node that answers is the arbiter, so of two writers one wins. Those
// who do not find the same arbiter, as when the network is cut in two, may both
// win, and the higher sequence stands in the end. After an error other than
// ErrConflict the record may be stored somewhere or not.
func (n *Node) PutIf(ctx context.Context, name, value []byte, seq uint64) (Stored, error) {
	return n.PutWith(ctx, routing.Key{}, value, PutOptions{Kind: wire.KindOwned, Name: name, IfSeq: &seq})
}

// publishIf publishes r if the version that stands has the sequence number seq.
func (n *Node) publishIf(ctx context.Context, r *wire.Signed, quorum int, seq uint64) (Stored, error) {
	arbiter, err := n.decide(ctx, r, seq)
	if err != nil {
		if errors.Is(err, ErrConflict) { // which names the key
			return Stored{Key: r.Record.Key}, fmt.Errorf("put: %w", err)
		}
		return Stored{Key: r.Record.Key}, fmt.Errorf("put %s: %w", r.Record.Key, err)
	}
	s, causes, err := n.storeWhileLookingUp(ctx, r, quorum)
	if anyOf(causes, wire.CodeStale) {
		if lost := n.lostTo(ctx, arbiter, r, seq); lost != nil {
			return Stored{Key: r.Record.Key}, fmt.Errorf("put: %w", lost)
		}
	}
	return s, err
}

// decide asks the arbiter to accept r in the place of the version with sequence
// number seq, and returns who that was.
func (n *Node) decide(ctx context.Context, r *wire.Signed, seq uint64) (wire.PeerID, error) {
	key := r.Record.Key
	f := n.newFinding(key, GetOptions{Kind: wire.KindOwned, Quorum: n.config.K + 1}, nil)
	f.patience = n.arbiterPatience
	out, err := f.walk(ctx)
	if err != nil {
		return wire.PeerID{}, err
	}
	best, found := f.bestOf(r.Record.Publisher)
	if found && best.record.Record.Seq > seq {
		return wire.PeerID{}, &ConflictError{key, seq, best.record.Record.Seq, best.from}
	}
	for _, arbiter := range arbiters(key, out) {
		if found && !f.has(arbiter, best.record) { // it is new here
			n.storeAt(ctx, arbiter, best.record, nil)
		}
		err := n.storeAt(ctx, arbiter, r, &seq)
		for wait := busyWait; errors.Is(err, ErrBusy) && wait < maxBusyWait; wait *= 2 { // another arbiter would not be the same
			if pause(ctx, wait) != nil {
				break
			}
			err = n.storeAt(ctx, arbiter, r, &seq)
		}
		switch {
		case err == nil:
			return arbiter, nil
		case errors.Is(err, wire.CodeConflict):
			return arbiter, n.conflict(ctx, arbiter, r, seq)
		case ctx.Err() != nil:
			return arbiter, err
		}
		out.Causes()[arbiter] = err
	}
	return wire.PeerID{}, &PutError{Stored: Stored{Key: key}, Alone: out.Answered() == 0, Causes: out.Causes()}
}

// How long to wait for an arbiter that is asked too much, from the first time on.
const busyWait, maxBusyWait = 50 * time.Millisecond, 2 * time.Second

// arbiters returns who may decide, the first who answers: the nearest nodes that
// were found, with those who only were asked too much.
func arbiters(key routing.Key, out *lookup.Outcome) []wire.PeerID {
	var ids []wire.PeerID
	for c := range out.Closest() {
		ids = append(ids, c.Addr.ID)
	}
	for id, cause := range out.Causes() {
		if errors.Is(cause, ErrBusy) {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b wire.PeerID) int { return key.CompareDistance(a.Key(), b.Key()) })
	return ids
}

// storeAt stores a record on one node, this one perhaps; with seq only in the
// place of that version.
func (n *Node) storeAt(ctx context.Context, id wire.PeerID, r *wire.Signed, seq *uint64) error {
	if id == n.id {
		return n.values.Put(time.Now(), []store.Item{{Record: r, IfSeq: seq}})[0]
	}
	_, m, err := n.request(ctx, id, wire.Store{Records: []*wire.Signed{r}, IfSeq: seq})
	if err != nil {
		return err
	}
	stored, ok := m.(wire.Stored)
	if !ok || len(stored.Results) != 1 {
		return unexpected(id, m)
	}
	if code := stored.Results[0]; code != wire.CodeOK {
		return &RemoteError{Peer: id, Code: code}
	}
	return nil
}

// conflict finds out what the arbiter has that is not what was expected.
func (n *Node) conflict(ctx context.Context, arbiter wire.PeerID, r *wire.Signed, seq uint64) error {
	e := &ConflictError{Key: r.Record.Key, Want: seq, Peer: arbiter}
	if arbiter == n.id {
		e.Seq, _ = n.values.Seq(time.Now(), e.Key)
		return e
	}
	if h, ok := n.versionAt(ctx, arbiter, r); ok {
		e.Seq = h.record.Record.Seq
	}
	return e
}

// versionAt asks one node which version of an owned record it has.
func (n *Node) versionAt(ctx context.Context, id wire.PeerID, r *wire.Signed) (searchResult, bool) {
	f := n.newFinding(r.Record.Key, GetOptions{Kind: wire.KindOwned}, nil)
	if id == n.id {
		f.addReply(n.values.Get(time.Now(), f.kind, f.key, 1), id)
	} else if _, m, err := n.request(ctx, id, wire.FindValue{Key: f.key, Kind: f.kind}); err == nil {
		v, _ := m.(wire.Value)
		f.addReply(v.Records, id)
	}
	return f.bestOf(r.Record.Publisher)
}

// standing looks for a version of the same publisher that is newer than r.
func (n *Node) standing(ctx context.Context, r *wire.Signed) (searchResult, bool) {
	f := n.newFinding(r.Record.Key, GetOptions{Kind: r.Record.Kind, Quorum: n.config.K + 1}, nil)
	f.walk(ctx) // what it found stands, whatever ended it
	h, ok := f.bestOf(r.Record.Publisher)
	return h, ok && wire.Newer(h.record, r)
}

// lostTo returns an error when another version than r stands somewhere, though the
// arbiter has r still: then that one came by another arbiter, and r will give
// way to it. One that came by ours has replaced r there first.
func (n *Node) lostTo(ctx context.Context, arbiter wire.PeerID, r *wire.Signed, seq uint64) error {
	other, ok := n.standing(ctx, r)
	if !ok {
		return nil
	}
	if h, ok := n.versionAt(ctx, arbiter, r); !ok || wire.Newer(h.record, r) {
		return nil
	}
	return &ConflictError{r.Record.Key, seq, other.record.Record.Seq, other.from}
}
