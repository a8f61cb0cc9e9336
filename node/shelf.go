package node

import (
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/kadquic/kadquic/wire"
)

// A stateStore is where publications outlive the process. Goroutines share it.
type stateStore interface {
	// savePublication puts data on disk under a name of at most 80 printable
	// characters, in the place of what is there; nil deletes it.
	savePublication(name string, data []byte) error
	// savedPublications yields all that is there, by name.
	savedPublications() iter.Seq2[string, []byte]
}

// save writes what is the latest of a slot, wherever there is a disk.
func (ps *publications) save(at publicationKey) error {
	if ps.disk == nil {
		return nil
	}
	order := &ps.saving[at.key[0]]
	order.Lock()
	defer order.Unlock()
	var data []byte
	ps.mu.Lock()
	if p := ps.by[at]; p != nil && !p.version.ends {
		data = wire.AppendSigned(nil, p.version.record)
	}
	ps.mu.Unlock()
	err := ps.disk.savePublication(at.String(), data)
	ps.mu.Lock()
	if err != nil {
		ps.unsaved[at] = struct{}{}
	} else {
		delete(ps.unsaved, at)
	}
	ps.mu.Unlock()
	if err != nil {
		return fmt.Errorf("cannot note on disk what is published under %s: %w", at.key, err)
	}
	return nil
}

// saveAgain saves what could not be saved, as far as that works now. What has been
// unpublished while the disk was full must not come back with the next start.
func (ps *publications) saveAgain() {
	ps.mu.Lock()
	unsaved := slices.Collect(maps.Keys(ps.unsaved))
	ps.mu.Unlock()
	for _, at := range unsaved {
		if ps.save(at) != nil {
			return
		}
	}
}

func (at publicationKey) String() string { return fmt.Sprintf("%v/%s", at.kind, at.key) }

// load takes in what another process left on the disk, and from then on saves
// to it. It is called before the node starts. The errors are of what cannot be
// used, and is left where it is.
func (ps *publications) load(disk stateStore, self wire.PeerID) (errs []error) {
	for name, data := range disk.savedPublications() {
		r, err := wire.ParseSigned(data)
		if err == nil && r.Record.Publisher != self {
			err = fmt.Errorf("published by %s", r.Record.Publisher)
		}
		if err == nil {
			err = ps.adopt(r, 0)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("publication %q: %w", name, err))
		}
	}
	ps.disk = disk
	return errs
}

// adopt takes in a publication of another process, to be published anew as soon
// as may be, unless one as new is there. Its next signature takes a sequence number
// above its own and the one given.
func (ps *publications) adopt(r *wire.Signed, above uint64) error {
	at := publicationKeyOf(r)
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p := ps.by[at]
	switch {
	case p != nil && !wire.Newer(r, p.version.record):
		return nil
	case p == nil && len(ps.by) >= maxPublished:
		return errTooMany
	}
	ps.by[at] = &publication{version: &version{slot: at, record: r, above: max(r.Record.Seq, above), out: true}}
	ps.nudge()
	return nil
}

// merge is adopt while the node runs.
func (ps *publications) merge(r *wire.Signed, above uint64) error {
	if err := ps.adopt(r, above); err != nil {
		return err
	}
	return ps.save(publicationKeyOf(r))
}
