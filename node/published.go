package node

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// maxPublished is how many records one node keeps alive. They stay in memory,
// some 400 bytes each and the value.
const maxPublished = 1 << 16

// withdrawal is how long the version lives that takes the place of a record
// which is unpublished.
const withdrawal = time.Minute

// A Publication is a record that this node keeps alive: it signs it anew, and
// publishes it, when 5/6 of its life have passed.
type Publication struct {
	Kind   wire.Kind
	Key    routing.Key
	Name   []byte // of owned and open records; may be empty
	Label  string // what SetLabel calls it; may be empty
	Size   int    // of the value, in bytes
	Seq    uint64 // of the version that stands; to renew it does not change it
	Expiry time.Time

	Renewed time.Time // when it was last stored anywhere; zero: not since the node was started
	Next    time.Time // when it is to be published again
	Stored  Stored    // where it went last
	Err     error     // why it could not be renewed; nil when it was
}

// A publicationKey is what one publication has: no two records of one publisher stand
// side by side in one.
type publicationKey struct {
	kind wire.Kind
	key  routing.Key
}

// publications are the records that a node keeps alive. Goroutines share it.
type publications struct {
	life time.Duration // of each signature; constant
	disk stateStore    // nil: they end with the process; constant once the node runs
	wake chan struct{} // has room for one: something is due before looks

	mu      sync.Mutex // nothing is called while it is held
	by      map[publicationKey]*publication
	looks   time.Time                   // when the task that renews them wakes
	unsaved map[publicationKey]struct{} // of which the disk says something else: it could not be written

	// saving orders what is written of one slot: it is held while it is, and
	// locked before mu.
	saving [256]sync.Mutex
}

// A publication is one of them. Guarded by publications.mu.
type publication struct {
	version  *version  // the latest, whether it is out yet or not
	renewed  time.Time // zero: not in this process
	next     time.Time // when it is to be published again
	failures int       // to renew it, in a row
	stored   Stored
	err      error
}

// A version is what one put made of a publication. Guarded by publications.mu,
// but for what is said to be constant.
type version struct {
	slot   publicationKey // constant
	ends   bool           // when it is out there is nothing left to renew; constant
	record *wire.Signed   // signed last
	above  uint64         // the next signature takes a sequence number above it; 0: the same as before
	out    bool           // somebody has it
	before *version       // what stands if nobody takes this one; nil once it is out
}

func newPublications(life time.Duration) *publications {
	return &publications{life: life, by: make(map[publicationKey]*publication), unsaved: make(map[publicationKey]struct{}), wake: make(chan struct{}, 1)}
}

func publicationKeyOf(r *wire.Signed) publicationKey {
	return publicationKey{r.Record.Kind, r.Record.Key}
}

// errTooMany refuses one more publication.
var errTooMany = fmt.Errorf("%d records are kept alive already, which is the limit: unpublish some, or give it a TTL", maxPublished)

// begin notes, on disk too, that a version is about to be published. With ends
// it puts an end to what is kept alive there. It returns nil when there is nothing to note.
func (ps *publications) begin(r *wire.Signed, ends bool) (*version, error) {
	v := &version{slot: publicationKeyOf(r), ends: ends, record: r}
	ps.mu.Lock()
	p := ps.by[v.slot]
	switch {
	case p == nil && ends, p != nil && wire.Newer(p.version.record, r):
		ps.mu.Unlock()
		return nil, nil
	case p == nil && len(ps.by) >= maxPublished:
		ps.mu.Unlock()
		return nil, errTooMany
	case p == nil:
		p = &publication{}
		ps.by[v.slot] = p
	}
	v.before, p.version = p.version, v
	ps.mu.Unlock()
	err := ps.save(v.slot)
	if err != nil {
		ps.end(v, Stored{}, nil)
	}
	return v, err
}

// end notes what came of publishing a version, nil being none. One that nobody
// has is forgotten: what was there before stands.
func (ps *publications) end(v *version, s Stored, err error) error {
	if v == nil {
		return nil
	}
	now := time.Now()
	ps.mu.Lock()
	p := ps.by[v.slot]
	switch {
	case p == nil: // unpublished meanwhile
	case s.Count > 0:
		v.out, v.before = true, nil
		if p.version != v {
			break
		}
		p.renewed, p.stored, p.err, p.failures, p.next = now, s, nil, 0, now.Add(renewAfter(ps.life))
		if errors.Is(err, ErrUnreachable) { // it is here, and nowhere else
			p.fail(err, ps.life, now)
		}
		if v.ends {
			delete(ps.by, v.slot)
		} else if p.next.Before(ps.looks) {
			ps.nudge()
		}
	default:
		for at := &p.version; *at != nil; at = &(*at).before {
			if *at == v {
				*at = v.before
				break
			}
		}
		if p.version == nil || p.version.ends && p.version.out {
			delete(ps.by, v.slot)
		}
	}
	ps.mu.Unlock()
	if s.Count > 0 {
		return nil // it was saved by begin
	}
	return ps.save(v.slot)
}

// last returns the highest sequence number of what is kept alive there, 0 if
// nothing is.
func (ps *publications) last(at publicationKey) uint64 {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p := ps.by[at]; p != nil {
		return p.version.record.Record.Seq
	}
	return 0
}

// nudge makes the task look again.
func (ps *publications) nudge() {
	select {
	case ps.wake <- struct{}{}:
	default:
	}
}

// Published returns the records that this node keeps alive, in order of kind and
// key.
func (n *Node) Published() []Publication {
	ps := n.publications
	ps.mu.Lock()
	all := make([]Publication, 0, len(ps.by))
	for at, p := range ps.by {
		v := p.version
		for v != nil && !v.out {
			v = v.before
		}
		if v == nil || v.ends {
			continue
		}
		r := v.record.Record
		all = append(all, Publication{
			Kind: at.kind, Key: at.key, Name: r.Name, Size: len(r.Value), Seq: r.Seq, Expiry: r.Expiry,
			Renewed: p.renewed, Next: p.next, Stored: p.stored, Err: p.err,
		})
	}
	ps.mu.Unlock()
	for i := range all {
		all[i].Label = n.labels.of(publicationKey{all[i].Kind, all[i].Key})
	}
	slices.SortFunc(all, func(a, b Publication) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), bytes.Compare(a.Key[:], b.Key[:]))
	})
	return all
}

// Unpublish ends what a put began: the record is not renewed any more, and, but
// for content, which others may have published too, it is replaced by a version
// of itself that ends in a minute. For as long as the former may live, this node
// looks every hour whether somebody has it still, of 1024 records at most. An error
// says that some may hold it until it ends; it is not renewed in any case. If the node
// keeps no such record alive, the error is ErrNotFound. With a context that has ended
// already it does nothing.
func (n *Node) Unpublish(ctx context.Context, kind wire.Kind, key routing.Key) (Stored, error) {
	if err := n.ready(ctx); err != nil {
		return Stored{}, err
	}
	ps, at := n.publications, publicationKey{kind, key}
	ps.mu.Lock()
	p := ps.by[at]
	var record wire.Record
	if p != nil {
		record = p.version.record.Record
	}
	delete(ps.by, at)
	ps.mu.Unlock()
	if p == nil {
		return Stored{}, fmt.Errorf("unpublish %s: %w", key, ErrNotFound)
	}
	seq := n.seqs.next(key, record.Seq, time.Now())
	serr := errors.Join(ps.save(at), n.retractions.add(at, seq), n.labels.set(at, "", ps.has))
	stored, err := Stored{Key: key}, error(nil)
	if kind != wire.KindContent {
		stored, err = n.withdraw(ctx, record, seq)
	}
	if err = errors.Join(serr, err); err != nil {
		return stored, fmt.Errorf("unpublish: %w", err)
	}
	return stored, nil
}
