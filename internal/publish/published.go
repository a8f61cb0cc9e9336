package publish

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// A Publication is a record that a node keeps alive, as List shows it.
type Publication struct {
	Key
	Name   []byte
	Label  string
	Size   int // of the value, in bytes
	Seq    uint64
	Expiry time.Time

	Renewed   time.Time // when it was last stored anywhere; zero: not in this process
	Next      time.Time // when it is due
	Count, Of int       // peers that acknowledged it last, of so many
	Err       error     // why it could not be renewed; nil when it was
}

// A Put is a version under way, between Begin and End.
type Put struct {
	record    *wire.Signed
	once      bool
	version   *version   // nil: there is nothing to note
	tombstone *tombstone // suspended while the version is under way; nil if there was none
}

// Begin notes, in the state store too, that a record of this node is about to be put. With
// once the record ends by itself, and the publication before it ends too. End must follow.
func (p *Publications) Begin(r *wire.Signed, once bool) (*Put, error) {
	v, err := p.begin(r, once)
	if err != nil {
		return nil, err
	}
	return &Put{r, once, v, p.suspend(KeyOf(r))}, nil
}

func (p *Publications) begin(r *wire.Signed, once bool) (*version, error) {
	ps := &p.published
	v := &version{at: KeyOf(r), once: once, record: r}
	ps.mu.Lock()
	x := ps.by[v.at]
	switch {
	case x == nil && once, x != nil && wire.Newer(x.version.record, r):
		ps.mu.Unlock()
		return nil, nil
	case x == nil && len(ps.by) >= maxPublished:
		ps.mu.Unlock()
		return nil, errTooMany
	case x == nil:
		x = &publication{}
		ps.by[v.at] = x
	}
	v.before, x.version = x.version, v
	ps.mu.Unlock()
	if err := ps.save(v.at); err != nil {
		p.end(v, Outcome{})
		return nil, err
	}
	return v, nil
}

// End notes the outcome of a put. A version that no peer stored is forgotten, and the one
// before is current again. The error says that the state store has another version now.
func (p *Publications) End(put *Put, o Outcome) error {
	if err := p.resume(put.tombstone, o.Count > 0); err != nil {
		p.config.Logger.Info("cannot forget a tombstone", "err", err)
	}
	if o.Count > 0 {
		if err := p.noteReplaced(put.record, put.version != nil, put.once); err != nil {
			p.config.Logger.Warn("a backup may bring back what was published before", "key", put.record.Record.Key, "err", err)
		}
	}
	if put.version == nil {
		return nil
	}
	return p.end(put.version, o)
}

func (p *Publications) end(v *version, o Outcome) error {
	now := time.Now()
	ps := &p.published
	ps.mu.Lock()
	x := ps.by[v.at]
	switch {
	case x == nil: // unpublished meanwhile
	case o.Count > 0:
		v.out, v.before = true, nil
		if x.version != v {
			break
		}
		x.renewed, x.count, x.of, x.err, x.failures = now, o.Count, o.Of, nil, 0
		x.next = now.Add(renewAfter(p.config.Life))
		if o.Isolated {
			x.fail(o.Err, p.config.Life, now)
		}
		if v.once {
			delete(ps.by, v.at)
		} else if x.next.Before(p.nextLook) {
			p.wake.Set()
		}
	default:
		for at := &x.version; *at != nil; at = &(*at).before {
			if *at == v {
				*at = v.before
				break
			}
		}
		if x.version == nil || x.version.once && x.version.out {
			delete(ps.by, v.at)
		}
	}
	ps.mu.Unlock()
	if o.Count > 0 {
		return nil // Begin saved it
	}
	return ps.save(v.at)
}

// List returns the records that the node keeps alive, in order of kind and key.
func (p *Publications) List() []Publication {
	ps := &p.published
	ps.mu.Lock()
	all := make([]Publication, 0, len(ps.by))
	for at, x := range ps.by {
		v := x.version
		for v != nil && !v.out {
			v = v.before
		}
		if v == nil || v.once {
			continue
		}
		r := v.record.Record
		all = append(all, Publication{
			Key: at, Name: r.Name, Size: len(r.Value), Seq: r.Seq, Expiry: r.Expiry,
			Renewed: x.renewed, Next: x.next, Count: x.count, Of: x.of, Err: x.err,
		})
	}
	ps.mu.Unlock()
	for i := range all {
		all[i].Label, _ = p.labels.get(all[i].Key)
	}
	slices.SortFunc(all, func(a, b Publication) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), bytes.Compare(a.Key.Key[:], b.Key.Key[:]))
	})
	return all
}

// LastSeq returns the highest sequence number of a publication or a tombstone there, 0 if
// there is none.
func (p *Publications) LastSeq(at Key) uint64 {
	last := p.tombstoneSeq(at)
	p.published.mu.Lock()
	defer p.published.mu.Unlock()
	if x := p.published.by[at]; x != nil {
		last = max(last, x.version.record.Record.Seq)
	}
	return last
}
