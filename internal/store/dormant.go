package store

import (
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/kadquic/kadquic/wire"
)

// Expire implements [Store]. It also releases the pages of the file that were read since from
// the process's resident memory.
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

// sweepSize bounds the entries that one transaction drops, and so the wait of a Put that
// arrives meanwhile.
const sweepSize = 4096

func (d *Disk) expireSome(now time.Time) (n int, done bool) {
	d.writing.Lock()
	defer d.writing.Unlock()
	done = d.wake(now)
	d.mu.Lock()
	n, all := d.x.sweep(d.x.tick(now), sweepSize)
	changes := d.x.log.take()
	d.mu.Unlock()
	if err := d.commit(now, changes, nil); err != nil {
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
	publisher       wire.PeerID
	print           wire.Print
	received, until int64
}

// dormancy is how long a dormant record stays in the file.
const dormancy = time.Hour

// wake returns dormant records that are alive by the wall clock to the index. After the hour
// it drops the others from the file, a part at a time, and returns false if more remain.
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

// bury deletes s from the file, or replaces it by its remembered sequence number.
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
	e.from.share = d.x.limits.Bytes // it was let in once
	d.x.replace(old, e, t)
}
