package store

import (
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// A ref is an entry whose record is to be read.
type ref struct {
	e      *entry
	key    dbKey
	print  wire.Print
	record *wire.Signed
}

func refTo(e *entry) ref { return ref{e, e.dbKey(), e.print, e.record} }

// Get implements [Store].
func (d *Disk) Get(now time.Time, kind wire.Kind, key routing.Key, n int) []*wire.Signed {
	return d.read(func() (refs []ref) {
		t := d.x.tick(now)
		for e := d.x.slots[slot{key, kind}]; e != nil && len(refs) < n; e = e.next {
			if e.alive(t) {
				refs = append(refs, refTo(e))
			}
		}
		return refs
	})
}

// Has implements [Store].
func (d *Disk) Has(now time.Time, r *wire.Signed) bool {
	held := d.one(now, slot{r.Record.Key, r.Record.Kind}, r.Print())
	return held != nil && same(held, r)
}

// Load implements [Store].
func (d *Disk) Load(now time.Time, h Held) *wire.Signed {
	return d.one(now, slot{h.Key, h.Kind}, h.Print)
}

func (d *Disk) one(now time.Time, s slot, p wire.Print) *wire.Signed {
	found := d.read(func() []ref {
		if e := d.x.find(d.x.tick(now), s, p); e != nil {
			return []ref{refTo(e)}
		}
		return nil
	})
	if len(found) == 0 {
		return nil
	}
	return found[0]
}

// read returns the records that choose names, with the lock held for reading. If a record was
// replaced before it could be read, read calls choose again. It leaves out and drops damaged
// records.
func (d *Disk) read(choose func() []ref) []*wire.Signed {
	for range 3 {
		d.mu.RLock()
		refs := choose()
		d.mu.RUnlock()
		if len(refs) == 0 {
			return nil
		}
		missed := d.fetch(refs)
		if missed {
			// Try once more with the current index. A writer updates the index before the
			// file, which may explain one miss, but not two.
			missed = d.fetch(refs)
		}
		if missed && d.drop(refs) {
			continue
		}
		out := make([]*wire.Signed, 0, len(refs))
		for _, r := range refs {
			if r.record != nil {
				out = append(out, r.record)
			}
		}
		return out
	}
	return nil
}

// fetch reads the records that are not in memory, and reports whether any could not be read.
func (d *Disk) fetch(refs []ref) (missed bool) {
	todo := 0
	for i := range refs {
		if refs[i].record == nil {
			todo++
		}
	}
	if todo == 0 {
		return false
	}
	// One by one if a page is damaged, so that it takes none with it.
	if d.view(func(tx *bolt.Tx) error {
		b := tx.Bucket(recordBucket)
		for i := range refs {
			refs[i].from(b)
		}
		return nil
	}) != nil {
		for i := range refs {
			d.view(func(tx *bolt.Tx) error {
				refs[i].from(tx.Bucket(recordBucket))
				return nil
			})
		}
	}
	for i := range refs {
		missed = missed || refs[i].record == nil
	}
	return missed
}

// from reads the record from the bucket; it stays nil if it is not there unharmed.
func (r *ref) from(b *bolt.Bucket) {
	if r.record != nil {
		return
	}
	if s, err := parseStored(b.Get(r.key.bytes())); err == nil && s.record != nil && s.record.Print() == r.print {
		r.record = s.record
	}
}

// drop marks as damaged the records that could not be read although they are still held. It
// reports whether others were replaced meanwhile, so that another try is useful.
func (d *Disk) drop(refs []ref) (again bool) {
	if d.unreadable() {
		return false // none can be read, so it is not damage of single records
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range refs {
		switch {
		case r.record != nil:
		case r.e.index < 0 || r.e.record != nil:
			again = true
		case !r.e.bad:
			r.e.bad = true
			d.told.Lock()
			d.report.Damaged++
			d.report.lost("record %x: it could not be read or did not match its checksum", r.key.bytes())
			d.told.Unlock()
		}
	}
	return again
}

// unreadable reports whether the file cannot be read at all.
func (d *Disk) unreadable() bool {
	return d.view(func(*bolt.Tx) error { return nil }) != nil
}

// load reads a record for the index, for the rare comparison that needs a payload. It takes no
// lock.
func (d *Disk) load(e *entry) *wire.Signed {
	if e.record != nil {
		return e.record
	}
	r := refTo(e)
	d.view(func(tx *bolt.Tx) error {
		r.from(tx.Bucket(recordBucket))
		return nil
	})
	return r.record
}
