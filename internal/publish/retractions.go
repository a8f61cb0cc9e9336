package publish

import (
	"github.com/kadquic/kadquic/wire"
)

// maxRetracted bounds the publications whose end is remembered, about 60 bytes each. When
// there are more, the oldest is forgotten. Retractions keep an older backup from bringing
// back what has ended. They outlive tombstones, which are over when no holder can have the
// record any more.
const maxRetracted = maxPublished

// addRetraction notes that publications there have ended, up to the sequence number seq.
func (p *Publications) addRetraction(at Key, seq uint64) error {
	rs := &p.retractions
	rs.mu.Lock()
	old, ok := rs.by[at]
	if ok && old >= seq {
		rs.mu.Unlock()
		return nil
	}
	oldest, full := Key{}, !ok && len(rs.by) >= maxRetracted
	if full {
		oldest = oldestOf(rs.by)
		delete(rs.by, oldest)
	}
	rs.by[at] = seq
	rs.mu.Unlock()
	if full {
		if err := rs.save(oldest); err != nil {
			return err
		}
	}
	return rs.save(at)
}

// oldestOf returns the key with the lowest sequence number.
func oldestOf(by map[Key]uint64) (oldest Key) {
	var least uint64
	found := false
	for at, seq := range by {
		if !found || seq < least {
			oldest, least, found = at, seq, true
		}
	}
	return oldest
}

// IsRetracted reports whether a publication there has ended that had the sequence number seq
// or a higher one.
func (p *Publications) IsRetracted(at Key, seq uint64) bool {
	last, ok := p.retractions.get(at)
	t, replaced := p.tombstones.get(at)
	return ok && last >= seq || replaced && t.record.Record.Seq >= seq
}

// noteReplaced notes that r was put where publications have ended, or end by it if it is put
// once: then they stay ended.
func (p *Publications) noteReplaced(r *wire.Signed, published, once bool) error {
	at := KeyOf(r)
	if !once {
		_, err := p.retractions.remove(at)
		return err
	}
	if _, ok := p.retractions.get(at); !published && !ok {
		return nil
	}
	return p.addRetraction(at, r.Record.Seq)
}
