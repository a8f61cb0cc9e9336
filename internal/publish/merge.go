package publish

import (
	"errors"
	"fmt"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// Merged counts the results of a merge.
type Merged struct {
	Publications int // that are kept alive now
	Refused      int // damaged, of another publisher, older than the current version, ended, or without room
	Retracted    int // publications that ended because they had ended in the backup
}

// MergeRetractions takes in the ends of publications from the state of a backup. Call it
// before the records of the backup and MergePublications, which they may concern.
func (p *Publications) MergeRetractions(from StateStore) (m Merged) {
	ended := make(map[Key]*wire.Signed)
	seqs := make(map[Key]uint64)
	readStates(from, p.tombstones.prefix, func(_ string, data []byte) {
		r, err := p.parseOwn(data)
		if err != nil {
			m.Refused++
			return
		}
		ended[KeyOf(r)], seqs[KeyOf(r)] = r, r.Record.Seq
	})
	readStates(from, p.retractions.prefix, func(_ string, data []byte) {
		at, seq, err := parseRetraction(data)
		if err != nil {
			m.Refused++
			return
		}
		seqs[at] = max(seqs[at], seq)
	})
	for at, seq := range seqs {
		retracted, err := p.mergeRetraction(at, seq, ended[at])
		if err != nil {
			p.config.Logger.Warn("cannot save a retraction of the backup", "kind", at.Kind, "key", at.Key, "err", err)
		}
		if retracted {
			m.Retracted++
		}
	}
	return m
}

// mergeRetraction ends a publication that is not newer than seq, and leaves a tombstone for
// its holders. t is the backup's tombstone, nil if it has none. It reports whether there was
// such a publication.
func (p *Publications) mergeRetraction(at Key, seq uint64, t *wire.Signed) (retracted bool, err error) {
	ps := &p.published
	ps.mu.Lock()
	x := ps.by[at]
	if x != nil && x.version.record.Record.Seq > seq {
		ps.mu.Unlock()
		return false, nil // the newer one stands
	}
	last := seq
	if x != nil {
		t = x.version.record
		last = max(seq, t.Record.Seq+1)
		delete(ps.by, at)
	}
	ps.mu.Unlock()
	err = p.addRetraction(at, seq)
	if x != nil {
		err = errors.Join(err, ps.save(at))
	}
	if t != nil && at.Kind != wire.KindContent && p.tombstoneSeq(at) < last {
		// Signed again, so that the search for holders lasts as long as they may have the record.
		now := time.Now()
		r, serr := p.signAgain(t.Record, last, tombstoneLife)
		if serr == nil {
			serr = p.addTombstone(r, now)
		}
		err = errors.Join(err, serr)
	}
	return x != nil, err
}

// MergePublications takes in the publications and labels of a backup. The newer of two
// versions stands.
func (p *Publications) MergePublications(from StateStore) (m Merged) {
	readStates(from, p.published.prefix, func(name string, data []byte) {
		if err := p.mergePublication(data); err != nil {
			m.Refused++
			p.config.Logger.Info("cannot merge a publication", "name", name, "err", err)
			return
		}
		m.Publications++
	})
	readStates(from, p.labels.prefix, func(_ string, data []byte) {
		at, label, ok := parseLabel(data)
		if !ok || !p.Has(at) {
			return
		}
		if _, has := p.labels.get(at); has {
			return
		}
		if err := p.setLabel(at, label); err != nil {
			p.config.Logger.Info("cannot save a label", "key", at.Key, "err", err)
		}
	})
	return m
}

// errRetracted refuses a publication of a backup.
var errRetracted = errors.New("it was unpublished, or replaced, after the backup was made")

func (p *Publications) mergePublication(data []byte) error {
	r, err := p.parseOwn(data)
	if err != nil {
		return err
	}
	at := KeyOf(r)
	if p.IsRetracted(at, r.Record.Seq) {
		return errRetracted
	}
	if _, err := p.retractions.remove(at); err != nil {
		return err
	}
	above := p.tombstoneSeq(at)
	if t, ok := p.tombstones.get(at); ok {
		err = p.endTombstone(t.record)
	}
	return errors.Join(err, p.merge(r, above))
}

// merge is adopt while the node runs.
func (p *Publications) merge(r *wire.Signed, above uint64) error {
	if err := p.adopt(r, above); err != nil {
		return err
	}
	return p.published.save(KeyOf(r))
}

// parseOwn reads a record of a backup. It may have ended, but this node must have signed it.
func (p *Publications) parseOwn(data []byte) (*wire.Signed, error) {
	r, err := wire.ParseSigned(data)
	if err != nil {
		return nil, err
	}
	if r.Record.Publisher != p.config.Self {
		return nil, fmt.Errorf("published by %s", r.Record.Publisher)
	}
	return r, r.Verify(r.Record.Expiry.Add(-time.Millisecond))
}
