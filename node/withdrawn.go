package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// What is unpublished is replaced, at the k nearest, by a version of itself that soon
// ends. A holder that did not hear of that, because it was cut off, or is one of the
// nearest no more, has the former still, and may bring it back to the others when
// they have forgotten why they had no more of it. So for as long as the former may
// live its publisher looks whether anybody has it.
const (
	withdrawSoon  = 2 * time.Minute // after the first time, and after a restart
	withdrawEvery = time.Hour
	// chaseTimeout bounds one look.
	chaseTimeout = time.Minute
	// maxWithdrawn bounds the records that are looked for.
	maxWithdrawn = 1024
)

// withdrawals are what a node has unpublished not long ago. Goroutines may share it.
type withdrawals struct {
	disk stateStore // nil: they end with the process; constant once the node runs

	mu sync.Mutex
	by map[publicationKey]*withdrawn

	// saving orders what is written of one slot, as publications.saving does.
	saving [256]sync.Mutex
}

// A withdrawn record. Guarded by withdrawals.mu.
type withdrawn struct {
	record *wire.Signed // the version that took its place; constant
	next   time.Time
}

// until is when the former has ended, wherever it may be.
func (w *withdrawn) until() time.Time { return w.record.Record.Expiry.Add(wire.MaxTTL) }

func newWithdrawals() *withdrawals { return &withdrawals{by: make(map[publicationKey]*withdrawn)} }

// add notes that r, signed just now, has taken the place of what was published.
func (ws *withdrawals) add(r *wire.Signed, now time.Time) error {
	at := publicationKeyOf(r)
	ws.mu.Lock()
	if ws.by[at] == nil && len(ws.by) >= maxWithdrawn {
		ws.mu.Unlock()
		return nil
	}
	ws.by[at] = &withdrawn{r, now.Add(withdrawSoon)}
	ws.mu.Unlock()
	return ws.save(at)
}

// save writes what stands of a slot, wherever there is a disk.
func (ws *withdrawals) save(at publicationKey) error {
	if ws.disk == nil {
		return nil
	}
	order := &ws.saving[at.key[0]]
	order.Lock()
	defer order.Unlock()
	var data []byte
	if r := ws.of(at); r != nil {
		data = wire.AppendSigned(nil, r)
	}
	return ws.disk.savePublication(at.String(), data)
}

// end forgets the withdrawal that r stands for, nil being none, as that is published
// again or has ended everywhere. One that has come since stays.
func (ws *withdrawals) end(r *wire.Signed) error {
	if r == nil {
		return nil
	}
	at := publicationKeyOf(r)
	ws.mu.Lock()
	w := ws.by[at]
	if w == nil || w.record != r {
		ws.mu.Unlock()
		return nil
	}
	delete(ws.by, at)
	ws.mu.Unlock()
	return ws.save(at)
}

// suspend has nobody look for what was withdrawn there, while something is put: its
// sequence number may be a lower one. Nil if nothing was.
func (ws *withdrawals) suspend(at publicationKey) *withdrawn {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	w := ws.by[at]
	delete(ws.by, at)
	return w
}

// resume ends what suspend began: with over for good, else as if nothing had been.
func (ws *withdrawals) resume(w *withdrawn, over bool) error {
	if w == nil {
		return nil
	}
	at := publicationKeyOf(w.record)
	if over {
		return ws.save(at)
	}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.by[at] == nil {
		ws.by[at] = w
	}
	return nil
}

// of returns what took the place there, nil if nothing did.
func (ws *withdrawals) of(at publicationKey) *wire.Signed {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if w := ws.by[at]; w != nil {
		return w.record
	}
	return nil
}

// last returns the sequence number of what took the place there, 0 if nothing did.
func (ws *withdrawals) last(at publicationKey) uint64 {
	if r := ws.of(at); r != nil {
		return r.Record.Seq
	}
	return 0
}

// load takes in what another process left on the disk. It is called before the node
// starts.
func (ws *withdrawals) load(disk stateStore, self wire.PeerID, now time.Time) {
	ws.disk = disk
	for name, data := range disk.savedPublications() {
		r, err := wire.ParseSigned(data)
		if err != nil || r.Record.Publisher != self || len(ws.by) >= maxWithdrawn {
			disk.savePublication(name, nil)
			continue
		}
		ws.by[publicationKeyOf(r)] = &withdrawn{r, now.Add(withdrawSoon)}
	}
}

// due returns the versions that are to be brought to those who have the former, and
// which are over.
func (ws *withdrawals) due(now time.Time) (due, over []*wire.Signed) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, w := range ws.by {
		switch {
		case now.After(w.until()):
			over = append(over, w.record)
		case !now.Before(w.next):
			w.next = now.Add(withdrawEvery)
			due = append(due, w.record)
		}
	}
	return due, over
}

// retractDue is the task.
func (n *Node) retractDue(ctx context.Context) {
	if n.lonely() {
		return
	}
	due, over := n.withdrawals.due(time.Now())
	for _, r := range due {
		if ctx.Err() != nil {
			return
		}
		if !n.chase(ctx, r) {
			over = append(over, r)
		}
	}
	for _, r := range over {
		if err := n.withdrawals.end(r); err != nil {
			n.config.Logger.Info("cannot forget a withdrawal", "err", err)
		}
	}
}

// chase brings a version that ends soon to those of the nearest who have one from
// before r still. It is false if somebody has one from after, put with our key.
func (n *Node) chase(ctx context.Context, r *wire.Signed) bool {
	ctx, cancel := context.WithTimeout(ctx, chaseTimeout)
	defer cancel()
	f := n.newFinding(r.Record.Key, GetOptions{Kind: r.Record.Kind, Quorum: n.config.K + 1}, nil)
	f.walk(ctx) // what it found stands, whatever ended it
	f.mu.Lock()
	found := slices.DeleteFunc(f.all, func(h searchResult) bool { return h.record.Record.Publisher != n.id })
	f.mu.Unlock()
	for _, h := range found {
		if h.record.Record.Seq > r.Record.Seq {
			return false
		}
	}
	for _, h := range found {
		if h.record.Record.Seq == r.Record.Seq {
			continue
		}
		// A holder whose clock is ahead of ours takes what ends in a minute for ended.
		for _, life := range []time.Duration{withdrawal, withdrawal + wire.MaxSkew} {
			last, err := n.signAnew(r.Record, r.Record.Seq, life)
			if err == nil {
				err = n.storeAt(ctx, h.from, last, nil)
			}
			if err != nil {
				n.config.Logger.Info("cannot withdraw", "kind", r.Record.Kind, "key", r.Record.Key, "peer", h.from, "err", err)
			}
			if !errors.Is(err, wire.CodeExpired) {
				break
			}
		}
	}
	return true
}

// withdraw replaces a record of ours by a version with the sequence number seq that soon
// ends.
func (n *Node) withdraw(ctx context.Context, r wire.Record, seq uint64) (Stored, error) {
	last, err := n.signAnew(r, seq, withdrawal)
	if err != nil {
		return Stored{}, err
	}
	noted := n.withdrawals.add(last, time.Now())
	stored, err := n.publish(ctx, last, 0)
	if noted != nil {
		err = errors.Join(err, fmt.Errorf("cannot note on disk what is withdrawn: %w", noted))
	}
	return stored, err
}
