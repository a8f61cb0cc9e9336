package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// renewAfter is when a record is signed anew, counted from when it was signed:
// early enough for some failures before it ends.
func renewAfter(life time.Duration) time.Duration { return life / 6 * 5 }

// renewBefore is by how much a record may be renewed early, because another is
// due and what goes to the same nodes goes together.
func renewBefore(life time.Duration) time.Duration { return life / 100 }

// retryAfter is when a renewal that failed is tried again.
func retryAfter(failures int, life time.Duration) time.Duration {
	return min(30*time.Second<<min(failures-1, 10), 10*time.Minute, life/24)
}

const (
	lookAgain  = time.Minute     // the list is looked through at least so often: the clock may have jumped
	lookForNet = 2 * time.Second // while there is no peer to publish at
	maxRenewed = 1024            // records renewed together
	maxSingly  = 8               // so many each by itself
)

// A renewal is one record that is due.
type renewal struct {
	version *version
	record  *wire.Signed // as it was signed last
	above   uint64       // see version
}

// renew is the task that publishes anew what is due.
func (n *Node) renew(ctx context.Context) {
	ps := n.publications
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ps.wake:
		case <-ctx.Done():
			return
		}
		ps.saveAgain()
		lonely := n.lonely()
		// A lone server that waits for others is a network of its own.
		offline := lonely && (n.mode() == wire.ModeClient || len(n.bootstrap.list()) > 0)
		due := ps.due(time.Now(), lonely, offline)
		for len(due) > 0 && ctx.Err() == nil {
			batch := due[:min(len(due), maxRenewed)]
			due = due[len(batch):]
			n.renewBatch(ctx, batch)
		}
		timer.Reset(ps.rest(time.Now(), offline))
	}
}

// due returns what is to be published now, in order of key, so that a batch
// goes to few nodes. With offline nothing can be, and that is noted.
func (ps *publications) due(now time.Time, lonely, offline bool) []renewal {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	var due []renewal
	collect := func(then time.Time) {
		for _, p := range ps.by {
			if p.due(then, now, ps.life, lonely) {
				due = append(due, renewal{p.version, p.version.record, p.version.above})
				if offline {
					p.err = fmt.Errorf("%w: no peer is known", ErrUnreachable)
				}
			}
		}
	}
	if collect(now); len(due) == 0 || offline {
		return nil
	}
	due = due[:0]
	collect(now.Add(renewBefore(ps.life)))
	slices.SortFunc(due, func(a, b renewal) int {
		return bytes.Compare(a.record.Record.Key[:], b.record.Record.Key[:])
	})
	return due
}

// due reports whether p is to be published by then. By the time since it was
// signed, and also by the clock: a machine may sleep, and its timers with it.
func (p *publication) due(then, now time.Time, life time.Duration, lonely bool) bool {
	switch {
	case p.version.ends || !p.version.out:
		return false
	case !p.next.After(then):
		return true
	case p.failures > 0:
		return false
	case p.stored.Of == 1 && !lonely: // it was stored when we were alone
		return true
	}
	return p.version.record.Record.Expiry.Sub(now) < life-renewAfter(life)-lookAgain
}

// rest returns how long the task may wait.
func (ps *publications) rest(now time.Time, offline bool) time.Duration {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	wait := lookAgain
	for _, p := range ps.by {
		if p.version.out && !p.version.ends {
			wait = min(wait, p.next.Sub(now))
		}
	}
	wait = max(wait, 0)
	if offline {
		wait = max(wait, lookForNet)
	}
	ps.looks = now.Add(wait)
	return wait
}

// renewBatch publishes some records anew: a few each by itself, many by one
// stream of records to each node.
func (n *Node) renewBatch(ctx context.Context, batch []renewal) {
	ps := n.publications
	var of []renewal
	var records freshRecords
	for _, w := range batch {
		r, err := n.resign(w)
		if err != nil {
			n.config.Logger.Warn("cannot renew", "key", w.record.Record.Key, "err", err)
			ps.renewed(w.version, w.record, Stored{Key: w.record.Record.Key}, err)
			continue
		}
		of, records = append(of, w), append(records, r)
	}
	acks := make([]int, len(records))
	if len(records) > maxSingly {
		acks = n.replicate(ctx, records)
	}
	servers := n.routes.Len()
	if n.mode() == wire.ModeServer {
		servers++
	}
	nodes := min(n.config.K, servers)
	var unreachable error
	for i, r := range records {
		switch {
		case ctx.Err() != nil:
			return
		case 2*acks[i] > nodes:
			ps.renewed(of[i].version, r, Stored{r.Record.Key, acks[i], nodes}, nil)
		case unreachable != nil: // it would be the same for all
			ps.renewed(of[i].version, r, Stored{r.Record.Key, acks[i], nodes}, unreachable)
		default: // what stands in the way?
			if err := n.renewOne(ctx, of[i], r); errors.Is(err, ErrUnreachable) {
				unreachable = err
			}
		}
	}
}

// resign signs a record anew. Its sequence number stays, the later expiry makes
// it the newer: so one who has put something else meanwhile, with our key on
// another machine, is not overruled. Only where the expiry would not be later (the
// clock has gone back), or may not be (of what another process signed we know
// only the first), the number is raised. That is not saved after every restart:
// should it not be enough the next time, it will be raised again (renewOne).
func (n *Node) resign(w renewal) (*wire.Signed, error) {
	ps, old := n.publications, w.record.Record
	seq := old.Seq
	if w.above > 0 || !time.Now().Add(ps.life).After(old.Expiry) {
		seq = max(seq, w.above) + 1
	}
	r, err := n.signAnew(old, seq, ps.life)
	if err != nil || seq == old.Seq {
		return r, err
	}
	ps.mu.Lock()
	w.version.record, w.version.above = r, 0
	ps.mu.Unlock()
	if w.above == old.Seq {
		return r, nil
	}
	return r, ps.save(publicationKeyOf(r))
}

// signAnew signs a record of ours again. Whether our clock is right is for those to
// say who are to store it: what others say of theirs must not end our records.
func (n *Node) signAnew(r wire.Record, seq uint64, life time.Duration) (*wire.Signed, error) {
	if r.Kind == wire.KindProvider {
		var err error
		if r.Value, err = n.providerValue(); err != nil {
			return nil, err
		}
	}
	r.Seq, r.Expiry = seq, time.Now().Add(life)
	return wire.Sign(r, n.config.Key)
}

// renewOne publishes a record signed anew, and finds out what stands in its way
// where it is refused.
func (n *Node) renewOne(ctx context.Context, w renewal, r *wire.Signed) error {
	ps := n.publications
	log := n.config.Logger.With("kind", r.Record.Kind, "key", r.Record.Key)
	s, causes, err := n.storeWhileLookingUp(ctx, r, 0)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if anyStale(causes) {
		h, ok := n.standing(ctx, r)
		theirs := h.record
		switch {
		case ok && !bytes.Equal(theirs.Record.Value, r.Record.Value):
			log.Info("another version was put with our key, elsewhere: this one is not renewed any more",
				"seq", r.Record.Seq, "standing", theirs.Record.Seq)
			if err := ps.drop(w.version); err != nil {
				log.Warn("cannot end a publication", "err", err)
			}
			return nil
		case ok: // ours, of before
			ps.raise(w.version, theirs.Record.Seq)
			err = fmt.Errorf("sequence %d stands: %w", theirs.Record.Seq, wire.CodeStale)
			s.Count = 0
		case s.Count == 0: // it has ended, and is only remembered
			ps.raise(w.version, uint64(time.Now().UnixMilli()))
		}
	}
	if err != nil {
		log.Info("cannot renew", "err", err)
	}
	ps.renewed(w.version, r, s, err)
	return err
}

// anyStale reports whether any peer refused a record because it has a newer one.
func anyStale(causes map[wire.PeerID]error) bool { return anyOf(causes, wire.CodeStale) }

// anyOf reports whether any peer refused a record for one of these reasons.
func anyOf(causes map[wire.PeerID]error, codes ...wire.Code) bool {
	for _, cause := range causes {
		if slices.ContainsFunc(codes, func(code wire.Code) bool { return errors.Is(cause, code) }) {
			return true
		}
	}
	return false
}

// standing looks for a version of the same publisher that stands in the way of r.
func (n *Node) standing(ctx context.Context, r *wire.Signed) (searchResult, bool) {
	f := n.newFinding(r.Record.Key, GetOptions{Kind: r.Record.Kind, Quorum: n.config.K + 1}, nil)
	f.walk(ctx) // what it found stands, whatever ended it
	h, ok := f.bestOf(r.Record.Publisher)
	return h, ok && wire.Newer(h.record, r)
}

// raise makes the next signature of v take a sequence number above seq.
func (ps *publications) raise(v *version, seq uint64) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	v.above = seq
}

// renewed notes what came of one renewal, unless another version has taken its
// place.
func (ps *publications) renewed(v *version, r *wire.Signed, s Stored, err error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p := ps.by[v.slot]
	if p == nil || p.version != v {
		return
	}
	now := time.Now()
	if s.Count > 0 {
		v.record, p.stored, p.renewed = r, s, now
	}
	if err != nil && (s.Count == 0 || errors.Is(err, ErrUnreachable)) {
		p.fail(err, ps.life, now)
		return
	}
	p.err, p.failures, p.next = nil, 0, now.Add(renewAfter(ps.life))
}

// fail notes that p could not be renewed.
func (p *publication) fail(err error, life time.Duration, now time.Time) {
	p.failures++
	p.err = err
	p.next = now.Add(retryAfter(p.failures, life))
}

// forget ends what is published there.
func (ps *publications) forget(at publicationKey) error {
	ps.mu.Lock()
	_, is := ps.by[at]
	delete(ps.by, at)
	ps.mu.Unlock()
	if !is {
		return nil
	}
	return ps.save(at)
}

// drop ends what another has put an end to.
func (ps *publications) drop(v *version) error {
	ps.mu.Lock()
	if p := ps.by[v.slot]; p != nil && p.version == v {
		delete(ps.by, v.slot)
	}
	ps.mu.Unlock()
	return ps.save(v.slot)
}
