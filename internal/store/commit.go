package store

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

// A write is one key of the record bucket as it is to be.
type write struct {
	key   dbKey
	raw   []byte // the key where it is damaged
	e     *entry // nil: delete it
	value []byte // nil with an entry: only the head of what stands there changes
	head  stored // that head
}

// commit makes the file say what the index does, and returns when that would
// outlive a crash. If it fails, what it was told of is undone: the index agrees
// with the file again. The caller holds writing.
func (d *Disk) commit(now time.Time, changes []change) error {
	writes := d.writes(now, changes)
	if len(writes) == 0 {
		return nil
	}
	err := d.update(now, func(tx *bolt.Tx) error {
		b := tx.Bucket(recordBucket)
		for _, w := range writes {
			if err := w.do(b); err != nil {
				return err
			}
		}
		return nil
	})
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

// writes lists what the changes come to, in the order of the file.
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

// storedOf is what the file is to say of e: by the wall clock, since ours ends with
// the process.
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
		return nil // it was damaged since: the next who reads it finds out
	}
	w.head.record = s.record
	return b.Put(key, w.head.append(nil))
}

// errClosed is of a store after Close.
var errClosed = errors.New("store is closed")

// update runs one transaction, which also stamps the file if now is not zero, and
// returns when it is on the disk. On an error nothing of it is. The caller holds writing.
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
		// What state it left bbolt in nobody knows. Reads go on.
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

// settle makes sure that the last transaction's head is on the disk, before another
// one builds on it: the pages that it freed are used anew, which the head before it
// still names. After a failed sync systems hold the page for clean, so that it is
// written again.
func (d *Disk) settle() error {
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

// view runs a transaction that reads, unless nothing can be read any more.
func (d *Disk) view(f func(*bolt.Tx) error) error {
	if d.closed.Load() {
		return errClosed
	}
	return guard(func() error { return d.db.View(f) })
}

// Expire implements [Store]. It also takes what was read of the file since out of the
// process's resident memory.
func (d *Disk) Expire(now time.Time) (n int) {
	for done := false; !done; {
		var dropped int
		if dropped, done = d.expireSome(now); dropped < 0 {
			break // the disk cannot be written: they have ended all the same
		}
		n += dropped
	}
	d.view(func(tx *bolt.Tx) error {
		shed(tx.DB().Info().Data, tx.Size())
		return nil
	})
	return n
}

// sweepSize is how many entries one transaction drops: a Put that comes meanwhile
// waits for no more.
const sweepSize = 4096

func (d *Disk) expireSome(now time.Time) (n int, done bool) {
	d.writing.Lock()
	defer d.writing.Unlock()
	done = d.wake(now)
	d.mu.Lock()
	n, all := d.x.sweep(d.x.tick(now), sweepSize)
	changes := d.x.log.take()
	d.mu.Unlock()
	if err := d.commit(now, changes); err != nil {
		return -1, true
	}
	if now.UnixMilli()-d.stamped > stampEvery.Milliseconds() {
		d.update(now, func(*bolt.Tx) error { return nil })
	}
	return n, done && all
}

// stampEvery is how far the file's stamp may lag behind when nothing is written.
const stampEvery = 10 * time.Minute

// A dormant record seemed to have ended when the store was opened. The clock may
// have been wrong: for an hour it stays, and wakes when the clock is found to have
// been. Times are Unix milliseconds.
type dormant struct {
	slot            slot
	publisher       [32]byte
	print           [16]byte
	received, until int64
}

// dormancy is how long that is.
const dormancy = time.Hour

// wake takes back into the index what lives by the wall clock after all, and after
// the hour drops the rest from the file, a part at a time: false if more remain.
func (d *Disk) wake(now time.Time) (done bool) {
	if len(d.dormant) == 0 {
		return true
	}
	ms := now.UnixMilli()
	over := d.x.tick(now) >= int64(dormancy)
	var rest []dormant
	for i, s := range d.dormant {
		switch {
		case s.received <= ms && ms < s.until: // else the clock is still wrong, or was right
			d.revive(now, s)
		case !over:
			rest = append(rest, s)
		default:
			d.bury(s)
			if len(d.scrap) >= sweepSize {
				rest = append(rest, d.dormant[i+1:]...)
				d.dormant = rest
				d.note(len(rest))
				return false
			}
		}
	}
	d.dormant = rest
	d.note(len(rest))
	return true
}

func (d *Disk) note(dormant int) {
	d.told.Lock()
	d.report.Dormant = dormant
	d.told.Unlock()
}

// bury has s deleted from the file, or what is to be remembered of it written in
// its place.
func (d *Disk) bury(s dormant) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.x.rival(s.slot, s.publisher)
	if e == nil {
		key := dbKeyOf(s.slot, s.publisher)
		d.scrap = append(d.scrap, key.bytes())
	} else if e.tomb && !e.dirty {
		d.x.log.changed(e)
		e.dirty = true
	}
}

// revive takes s into the index again.
func (d *Disk) revive(now time.Time, s dormant) {
	key := dbKeyOf(s.slot, s.publisher)
	var r *stored
	d.view(func(tx *bolt.Tx) (err error) {
		r, err = parseStored(tx.Bucket(recordBucket).Get(key.bytes()))
		return err
	})
	if r == nil || r.record == nil || r.record.Print() != s.print {
		return // another took its place
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.x.tick(now)
	e := entryOf(r.record)
	e.cached, e.from = r.cached, d.x.use.tally(r.account)
	left := min(s.until-now.UnixMilli(), s.until-s.received, ms24h)
	e.until = t + ticks(left)
	e.end = max(e.until, t+ticks(min(e.expiry-now.UnixMilli(), ms24h)))
	e.received = min(t-ticks(now.UnixMilli()-s.received), -1)
	e.forget = t + ticks(min(max(r.forget-now.UnixMilli(), 0), SeqMemory.Milliseconds()))
	old := d.x.rival(e.slot, e.publisher)
	if old != nil && (!old.tomb || old.seq > e.seq) {
		return
	}
	d.x.replace(old, e, t)
}
