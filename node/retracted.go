package node

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// maxRetracted bounds the publications whose end is remembered, some 60 bytes each. When
// there are more, the oldest is forgotten.
const maxRetracted = maxPublished

// retractions remember which publications ended, and by which sequence number, so that a
// backup from before does not bring them back. They outlive withdrawals, which bring the
// end to the holders and are over when no holder can have the record any more.
// Goroutines may share them.
type retractions struct {
	disk stateStore // nil: they end with the process; constant once the node runs

	mu sync.Mutex // held while a retraction is written, so that the last one stands
	by map[publicationKey]uint64
}

func newRetractions() *retractions { return &retractions{by: make(map[publicationKey]uint64)} }

// add notes that what was published there, up to the sequence number seq, has ended.
func (rs *retractions) add(at publicationKey, seq uint64) error {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if old, ok := rs.by[at]; ok && old >= seq {
		return nil
	}
	if _, ok := rs.by[at]; !ok && len(rs.by) >= maxRetracted {
		if err := rs.forgetOldest(); err != nil {
			return err
		}
	}
	rs.by[at] = seq
	return rs.save(at, seq)
}

// forgetOldest makes room for one more, with mu held.
func (rs *retractions) forgetOldest() error {
	var oldest publicationKey
	var least uint64
	found := false
	for at, seq := range rs.by {
		if !found || seq < least {
			oldest, least, found = at, seq, true
		}
	}
	delete(rs.by, oldest)
	if rs.disk == nil {
		return nil
	}
	return rs.disk.savePublication(oldest.String(), nil)
}

// end forgets a retraction, because something is published there again.
func (rs *retractions) end(at publicationKey) error {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if _, ok := rs.by[at]; !ok {
		return nil
	}
	delete(rs.by, at)
	if rs.disk == nil {
		return nil
	}
	return rs.disk.savePublication(at.String(), nil)
}

// of returns up to which sequence number publications there have ended; false if none
// has.
func (rs *retractions) of(at publicationKey) (seq uint64, ok bool) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	seq, ok = rs.by[at]
	return seq, ok
}

// retractionLen is the length of a retraction on disk: kind 1 | key 32 | sequence 8,
// little-endian.
const retractionLen = 1 + len(routing.Key{}) + 8

func (rs *retractions) save(at publicationKey, seq uint64) error {
	if rs.disk == nil {
		return nil
	}
	data := append([]byte{byte(at.kind)}, at.key[:]...)
	return rs.disk.savePublication(at.String(), binary.LittleEndian.AppendUint64(data, seq))
}

// parseRetraction reads what save wrote.
func parseRetraction(data []byte) (at publicationKey, seq uint64, err error) {
	if len(data) != retractionLen {
		return publicationKey{}, 0, fmt.Errorf("%d bytes that are no retraction", len(data))
	}
	at = publicationKey{wire.Kind(data[0]), routing.Key(data[1:33])}
	return at, binary.LittleEndian.Uint64(data[33:]), nil
}

// load takes in what another process left on the disk. It is called before the node
// starts.
func (rs *retractions) load(disk stateStore) {
	rs.disk = disk
	for name, data := range disk.savedPublications() {
		at, seq, err := parseRetraction(data)
		if err != nil || len(rs.by) >= maxRetracted {
			disk.savePublication(name, nil)
			continue
		}
		rs.by[at] = seq
	}
}

// retracted reports whether a publication of ours with the sequence number seq has ended
// since.
func (n *Node) retracted(at publicationKey, seq uint64) bool {
	last, ok := n.retractions.of(at)
	gone := n.withdrawals.of(at)
	return ok && last >= seq || gone != nil && gone.Record.Seq >= seq
}

// noteReplaced notes that r was put where publications of ours may have ended before, or
// end by it: one that is not kept alive keeps them ended.
func (n *Node) noteReplaced(r *wire.Signed, published, ends bool) error {
	at := publicationKeyOf(r)
	if !ends {
		return n.retractions.end(at)
	}
	if _, ok := n.retractions.of(at); !published && !ok {
		return nil
	}
	return n.retractions.add(at, r.Record.Seq)
}

// errRetracted refuses a publication of a backup.
var errRetracted = errors.New("it was unpublished, or replaced, after the backup was made")

// mergeRetraction takes in a retraction of a backup: what is published here, and is not newer,
// ends, and the holders hear of it in the background. gone is the withdrawal that the
// backup has, nil if none. It reports whether a publication ended.
func (n *Node) mergeRetraction(at publicationKey, seq uint64, gone *wire.Signed) (ended bool, err error) {
	ps := n.publications
	ps.mu.Lock()
	p := ps.by[at]
	if p != nil && p.version.record.Record.Seq > seq {
		ps.mu.Unlock()
		return false, nil // newer stands
	}
	last := seq
	if p != nil {
		gone = p.version.record
		last = max(seq, gone.Record.Seq+1)
		delete(ps.by, at)
	}
	ps.mu.Unlock()
	err = n.retractions.add(at, seq)
	if p != nil {
		err = errors.Join(err, ps.save(at))
	}
	if gone != nil && at.kind != wire.KindContent && n.withdrawals.last(at) < last {
		// Signed again, so that holders are looked for as long as they may have the record.
		r, serr := n.signAnew(gone.Record, last, withdrawal)
		if serr == nil {
			serr = n.withdrawals.add(r, time.Now())
		}
		err = errors.Join(err, serr)
	}
	return p != nil, err
}
