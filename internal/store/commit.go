package store

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

// A write is the new value of one key of the record bucket.
type write struct {
	key   dbKey
	raw   []byte // the key where it is damaged
	e     *entry // nil: delete it
	value []byte // nil with an entry: only the head of the stored value changes
	head  stored // that head
}

// commit writes the changes of the index and the states to the file, and returns when they
// would survive a crash. If it fails, it undoes the changes, so that the index agrees with the
// file again. now may be zero if only states change. The caller holds writing.
func (d *Disk) commit(now time.Time, changes []change, states []*waiter) error {
	writes := d.writes(now, changes)
	if len(writes)+len(states) == 0 {
		return nil
	}
	more := 0
	err := d.update(now, func(tx *bolt.Tx) error {
		b := tx.Bucket(recordBucket)
		for _, w := range writes {
			if err := w.do(b); err != nil {
				return err
			}
		}
		var err error
		more, err = saveAll(tx, states)
		return err
	})
	if err == nil {
		d.told.Lock()
		d.report.States += more
		d.told.Unlock()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		d.x.undo(changes)
		return err
	}
	d.scrap = nil
	for _, w := range writes {
		if w.e != nil {
			w.e.dirty, w.e.record = false, nil
		}
	}
	return nil
}

// writes lists the net effect of the changes, in the order of the file.
func (d *Disk) writes(now time.Time, changes []change) []write {
	d.mu.RLock()
	defer d.mu.RUnlock()
	seen := make(map[dbKey]bool, len(changes))
	var out []write
	for _, c := range changes {
		key := c.e.dbKey()
		if seen[key] {
			continue
		}
		seen[key] = true
		e := d.x.rival(c.e.slot, c.e.publisher)
		if e != nil && !e.dirty {
			continue
		}
		w := write{key: key, e: e}
		if e != nil {
			w.head = d.storedOf(now, e)
			if e.record != nil || e.tomb {
				w.value = w.head.append(nil)
			}
		}
		out = append(out, w)
	}
	for _, key := range d.scrap {
		w := write{raw: key}
		if copy(w.key[:], key); !seen[w.key] {
			out = append(out, w)
		}
	}
	slices.SortFunc(out, func(a, b write) int { return bytes.Compare(a.key[:], b.key[:]) })
	return out
}

// storedOf returns the stored form of e. Its times are by the wall clock, because the store's
// own clock ends with the process.
func (d *Disk) storedOf(now time.Time, e *entry) stored {
	t, ms := d.x.tick(now), now.UnixMilli()
	wall := func(tick int64) int64 { return ms + (tick-t)/int64(time.Millisecond) }
	return stored{
		record: e.record, slot: e.slot, publisher: e.publisher, seq: e.seq, cached: e.cached, account: e.from.account,
		received: wall(e.received), until: wall(e.until), forget: wall(e.forget),
	}
}

func (w *write) do(b *bolt.Bucket) error {
	key := w.key.bytes()
	switch {
	case w.raw != nil:
		return b.Delete(w.raw)
	case w.e == nil:
		return b.Delete(key)
	case w.value != nil:
		return b.Put(key, w.value)
	}
	s, err := parseStored(b.Get(key))
	if err != nil || s.record == nil || s.record.Print() != w.e.print {
		return nil // damaged since; the next read finds out
	}
	w.head.record = s.record
	return b.Put(key, w.head.append(nil))
}

// errClosed is the error of a closed store.
var errClosed = errors.New("store is closed")

// update runs one transaction, which also stamps the file if now is not zero, and
// returns when it is on the disk. On an error, nothing of it is on the disk. The caller holds writing.
func (d *Disk) update(now time.Time, f func(*bolt.Tx) error) (err error) {
	defer func() {
		d.told.Lock()
		d.report.ReadOnly = err
		d.told.Unlock()
	}()
	switch {
	case d.closed.Load():
		return errClosed
	case d.broken != nil:
		return d.broken
	}
	if err := d.settle(); err != nil {
		return err
	}
	id, stamp := 0, d.stamped
	if !now.IsZero() {
		stamp = max(stamp, now.UnixMilli())
	}
	err = guard(func() error {
		return d.db.Update(func(tx *bolt.Tx) error {
			id = tx.ID()
			if err := tx.Bucket(aboutBucket).Put(stampKey, appendStamp(nil, stamp)); err != nil {
				return err
			}
			return f(tx)
		})
	})
	if errors.As(err, new(*panicError)) {
		// The state of bbolt is unknown. Reads go on.
		d.broken = fmt.Errorf("%w; the store is not written any more until it is opened anew", err)
		return d.broken
	}
	if err != nil && id != 0 && d.current() >= id {
		// Its head was written, only the sync failed: the mapped file shows it.
		d.unsynced = id
		err = d.settle()
	}
	if err == nil {
		d.stamped = stamp
	}
	return err
}

// current returns the number of the transaction that readers see.
func (d *Disk) current() (id int) {
	d.view(func(tx *bolt.Tx) error {
		id = tx.ID()
		return nil
	})
	return id
}

// settle syncs the head of the last transaction before another one builds on it, because the
// next one reuses pages that the previous head still names. After a failed sync the system
// regards the page as clean, so settle writes it again. It also syncs the name of the file.
// The caller holds writing.
func (d *Disk) settle() error {
	if d.unnamed {
		if err := syncNames(d.path); err != nil {
			return err
		}
		d.unnamed = false
	}
	if d.unsynced == 0 {
		return nil
	}
	size := int64(d.db.Info().PageSize)
	page, at := make([]byte, size), int64(d.unsynced%2)*size
	if _, err := d.file.ReadAt(page, at); err != nil {
		return err
	}
	if _, err := d.file.WriteAt(page, at); err != nil {
		return err
	}
	if err := d.file.Sync(); err != nil {
		return err
	}
	d.unsynced = 0
	return nil
}

// view runs a read transaction, unless the store is closed.
func (d *Disk) view(f func(*bolt.Tx) error) error {
	if d.closed.Load() {
		return errClosed
	}
	return guard(func() error { return d.db.View(f) })
}
