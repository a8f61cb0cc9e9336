package publish

import (
	"errors"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// A tombstone is a version that ends soon and takes the place of an unpublished record at
// the k nearest peers. A holder that was cut off, or is no longer one of the nearest, still
// has the record, and may republish it to the others after they have forgotten the
// tombstone. So for as long as the record may live its publisher looks for such holders.
const (
	// tombstoneLife is how long a tombstone lives at its holders.
	tombstoneLife = time.Minute
	retractSoon   = 2 * time.Minute // after the first time, and after a restart
	retractEvery  = time.Hour
	// maxTombstones bounds the tombstones that are kept.
	maxTombstones = 1024
)

// Unpublish ends a publication. It returns the tombstone to publish in its place, nil for
// content, which other nodes may have published too; also with an error of the state store.
// The error is ErrNotPublished if there is no such publication.
func (p *Publications) Unpublish(at Key) (*wire.Signed, error) {
	ps := &p.published
	ps.mu.Lock()
	x := ps.by[at]
	if x == nil {
		ps.mu.Unlock()
		return nil, ErrNotPublished
	}
	record := x.version.record.Record
	delete(ps.by, at)
	ps.mu.Unlock()
	now := time.Now()
	seq := p.seqs.next(at.Key, record.Seq, now)
	saved := errors.Join(ps.save(at), p.addRetraction(at, seq), p.setLabel(at, ""))
	if at.Kind == wire.KindContent {
		return nil, saved
	}
	t, err := p.signAgain(record, seq, tombstoneLife)
	if err != nil {
		return nil, errors.Join(saved, err)
	}
	return t, errors.Join(saved, p.addTombstone(t, now))
}

// addTombstone notes a tombstone signed at now.
func (p *Publications) addTombstone(r *wire.Signed, now time.Time) error {
	at, ts := KeyOf(r), &p.tombstones
	ts.mu.Lock()
	if ts.by[at] == nil && len(ts.by) >= maxTombstones {
		ts.mu.Unlock()
		return nil
	}
	ts.by[at] = &tombstone{r, now.Add(retractSoon)}
	ts.mu.Unlock()
	return ts.save(at)
}

// endTombstone forgets the tombstone r, because a newer version is published or the record
// has ended at every holder. A tombstone that has replaced r meanwhile stays.
func (p *Publications) endTombstone(r *wire.Signed) error {
	at, ts := KeyOf(r), &p.tombstones
	ts.mu.Lock()
	t := ts.by[at]
	if t == nil || t.record != r {
		ts.mu.Unlock()
		return nil
	}
	delete(ts.by, at)
	ts.mu.Unlock()
	return ts.save(at)
}

// suspend takes a tombstone out while a version is put, which may have a lower sequence
// number. It returns nil if there is none.
func (p *Publications) suspend(at Key) *tombstone {
	ts := &p.tombstones
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t := ts.by[at]
	delete(ts.by, at)
	return t
}

// resume undoes suspend, unless the version has replaced the tombstone t.
func (p *Publications) resume(t *tombstone, replaced bool) error {
	if t == nil {
		return nil
	}
	at, ts := KeyOf(t.record), &p.tombstones
	if replaced {
		return ts.save(at)
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.by[at] == nil {
		ts.by[at] = t
	}
	return nil
}

// tombstoneSeq returns the sequence number of the tombstone there, 0 if there is none.
func (p *Publications) tombstoneSeq(at Key) uint64 {
	if t, ok := p.tombstones.get(at); ok {
		return t.record.Record.Seq
	}
	return 0
}

// DueTombstones returns the tombstones to bring to holders of the records they replace, and
// those whose records have ended at every holder.
func (p *Publications) DueTombstones(now time.Time) (due, ended []*wire.Signed) {
	ts := &p.tombstones
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for _, t := range ts.by {
		switch {
		case now.After(t.until()):
			ended = append(ended, t.record)
		case !now.Before(t.next):
			t.next = now.Add(retractEvery)
			due = append(due, t.record)
		}
	}
	return due, ended
}
