package publish

import (
	"bytes"
	"slices"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// renewBefore is how much earlier a record may be renewed when another is due, so that what
// goes to the same peers goes together.
func renewBefore(life time.Duration) time.Duration { return life / 100 }

const (
	lookAgain      = time.Minute     // between two calls of Due at most: the clock may have jumped
	lookForNetwork = 2 * time.Second // while there is no peer to publish at
)

// A Renewal is one record that is due.
type Renewal struct {
	version *version
	record  *wire.Signed // as it was signed last
	above   uint64       // see version
}

// Due returns the records that are due now, in order of key, so that a batch goes to few peers. With
// isolated the node knows no live peer. If offline is not nil, nothing can be published, for
// that reason, which is noted.
func (p *Publications) Due(now time.Time, isolated bool, offline error) []Renewal {
	ps, life := &p.published, p.config.Life
	ps.mu.Lock()
	defer ps.mu.Unlock()
	var due []Renewal
	collect := func(then time.Time) {
		for _, x := range ps.by {
			if x.isDue(then, now, life, isolated) {
				due = append(due, Renewal{x.version, x.version.record, x.version.above})
				if offline != nil {
					x.err = offline
				}
			}
		}
	}
	if collect(now); len(due) == 0 || offline != nil {
		return nil
	}
	due = due[:0]
	collect(now.Add(renewBefore(life)))
	slices.SortFunc(due, func(a, b Renewal) int {
		return bytes.Compare(a.record.Record.Key[:], b.record.Record.Key[:])
	})
	return due
}

// isDue reports whether x is due at then: by the time since its signature, and also by the
// wall clock, because timers stand still while a machine sleeps.
func (x *publication) isDue(then, now time.Time, life time.Duration, isolated bool) bool {
	switch {
	case x.version.once || !x.version.out:
		return false
	case !x.next.After(then):
		return true
	case x.failures > 0:
		return false
	case x.of == 1 && !isolated: // it was stored while this node was alone
		return true
	}
	return x.version.record.Record.Expiry.Sub(now) < life-renewAfter(life)-lookAgain
}

// rest returns how long to wait before the next call of Due.
func (p *Publications) rest(now time.Time, offline bool) time.Duration {
	ps := &p.published
	ps.mu.Lock()
	defer ps.mu.Unlock()
	wait := lookAgain
	for _, x := range ps.by {
		if x.version.out && !x.version.once {
			wait = min(wait, x.next.Sub(now))
		}
	}
	wait = max(wait, 0)
	if offline {
		wait = max(wait, lookForNetwork)
	}
	p.nextLook = now.Add(wait)
	return wait
}

// resign signs a record again. The sequence number stays, because the later expiry makes the
// record newer: so a version that was put with the same key on another machine meanwhile
// wins. The number is raised where the expiry would not be later, because the clock was set
// back, or may not be: of a version of another process only the first signature is saved.
// The raised number is not saved after every restart: if it is too low the next time, it is
// raised again (see renewOne).
func (p *Publications) resign(w Renewal) (*wire.Signed, error) {
	old := w.record.Record
	seq := old.Seq
	if w.above > 0 || !time.Now().Add(p.config.Life).After(old.Expiry) {
		seq = max(seq, w.above) + 1
	}
	r, err := p.signAgain(old, seq, p.config.Life)
	if err != nil || seq == old.Seq {
		return r, err
	}
	p.published.mu.Lock()
	w.version.record, w.version.above = r, 0
	p.published.mu.Unlock()
	if w.above == old.Seq {
		return r, nil
	}
	return r, p.published.save(KeyOf(r))
}

// raise makes the next signature of v take a sequence number above seq.
func (p *Publications) raise(v *version, seq uint64) {
	p.published.mu.Lock()
	defer p.published.mu.Unlock()
	v.above = seq
}

// renewed notes the outcome of one renewal, unless another version has replaced v.
func (p *Publications) renewed(v *version, r *wire.Signed, o Outcome) {
	ps := &p.published
	ps.mu.Lock()
	defer ps.mu.Unlock()
	x := ps.by[v.at]
	if x == nil || x.version != v {
		return
	}
	now := time.Now()
	if o.Count > 0 {
		v.record, x.count, x.of, x.renewed = r, o.Count, o.Of, now
	}
	if o.Err != nil && (o.Count == 0 || o.Isolated) {
		x.fail(o.Err, p.config.Life, now)
		return
	}
	x.err, x.failures, x.next = nil, 0, now.Add(renewAfter(p.config.Life))
}

// drop ends the publication of v, because another machine has replaced it.
func (p *Publications) drop(v *version) error {
	ps := &p.published
	ps.mu.Lock()
	if x := ps.by[v.at]; x != nil && x.version == v {
		delete(ps.by, v.at)
	}
	ps.mu.Unlock()
	return ps.save(v.at)
}
