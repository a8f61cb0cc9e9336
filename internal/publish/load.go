package publish

import (
	"fmt"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// Load loads the state that an earlier process saved, and from then on saves to state. Call
// it before any other method.
func (p *Publications) Load(state StateStore, now time.Time) {
	for _, err := range p.published.load(state, p.adoptSaved) {
		p.config.Logger.Warn("not published any more", "err", err) // and left where it is
	}
	p.tombstones.loadOrDelete(state, func(data []byte) bool { return p.loadTombstone(data, now) })
	p.retractions.loadOrDelete(state, p.loadRetraction)
	p.labels.loadOrDelete(state, p.loadLabel)
	for at, t := range p.tombstones.by { // unpublished when the end could not be saved
		if x := p.published.by[at]; x != nil && x.version.record.Record.Seq < t.record.Record.Seq {
			if _, err := p.published.remove(at); err != nil {
				p.config.Logger.Warn("cannot end a publication", "err", err)
			}
		}
	}
}

// adoptSaved takes in a publication of an earlier process.
func (p *Publications) adoptSaved(data []byte) error {
	r, err := wire.ParseSigned(data)
	if err != nil {
		return err
	}
	if r.Record.Publisher != p.config.Self {
		return fmt.Errorf("published by %s", r.Record.Publisher)
	}
	return p.adopt(r, 0)
}

// adopt takes in a publication of another process, to be signed and published again as soon
// as possible, unless one at least as new is there. Its next signature takes a sequence
// number above its own and the one given.
func (p *Publications) adopt(r *wire.Signed, above uint64) error {
	at := KeyOf(r)
	ps := &p.published
	ps.mu.Lock()
	defer ps.mu.Unlock()
	x := ps.by[at]
	switch {
	case x != nil && !wire.Newer(r, x.version.record):
		return nil
	case x == nil && len(ps.by) >= maxPublished:
		return errTooMany
	}
	ps.by[at] = &publication{version: &version{at: at, record: r, above: max(r.Record.Seq, above), out: true}}
	p.wake.Set()
	return nil
}

func (p *Publications) loadTombstone(data []byte, now time.Time) bool {
	r, err := wire.ParseSigned(data)
	if err != nil || r.Record.Publisher != p.config.Self || len(p.tombstones.by) >= maxTombstones {
		return false
	}
	p.tombstones.by[KeyOf(r)] = &tombstone{r, now.Add(retractSoon)}
	return true
}

func (p *Publications) loadRetraction(data []byte) bool {
	at, seq, err := parseRetraction(data)
	if err != nil || len(p.retractions.by) >= maxRetracted {
		return false
	}
	p.retractions.by[at] = seq
	return true
}

// loadLabel takes in the label of a publication that is loaded already.
func (p *Publications) loadLabel(data []byte) bool {
	at, label, ok := parseLabel(data)
	if !ok || !p.Has(at) {
		return false
	}
	p.labels.by[at] = label
	return true
}
