package store

import (
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/kadquic/kadquic/wire"
)

// A waiter is a change on its way to the disk: records that are put, or a state that
// is saved. All that arrive while another transaction is written share the next
// one, so that one fsync serves any number of callers.
type waiter struct {
	now  time.Time // of a Put, else zero
	done bool      // err or errs are set. Guarded by Disk.writing

	batch []Item // of a Put
	errs  []error

	name string // of a Save; else ""
	data []byte
	err  error
}

// enter returns when all of ws are answered, by one transaction.
func (d *Disk) enter(ws ...*waiter) {
	d.queued.Lock()
	d.waiting = append(d.waiting, ws...)
	d.queued.Unlock()
	d.writing.Lock()
	defer d.writing.Unlock()
	if ws[0].done {
		return
	}
	d.queued.Lock()
	group := d.waiting
	d.waiting = nil
	d.queued.Unlock()
	d.together(group)
	for _, w := range group {
		w.done = true
	}
}

// together answers a group by one transaction. The caller holds writing.
func (d *Disk) together(group []*waiter) {
	err := errClosed
	if !d.closed.Load() {
		err = d.settle()
	}
	if err != nil { // not even what is held is sure
		d.told.Lock()
		d.report.ReadOnly = err
		d.told.Unlock()
		for _, w := range group {
			w.err = err
			for i := range w.errs {
				w.errs[i] = &ReadOnlyError{d.path, err}
			}
		}
		return
	}
	var now time.Time
	var states []*waiter
	d.mu.Lock()
	for _, w := range group {
		if w.name != "" {
			states = append(states, w)
			continue
		}
		if w.now.After(now) {
			now = w.now
		}
		for i := range w.batch {
			if c := d.x.put(w.now, &w.batch[i]); c != wire.CodeOK {
				w.errs[i] = c
			}
		}
	}
	changes := d.x.log.take()
	d.mu.Unlock()
	if err = d.commit(now, changes, states); err == nil {
		return
	}
	for _, w := range group {
		w.err = err
		d.refuse(w.now, w.batch, w.errs, err)
	}
}

// refuse answers a batch that could not be written. Records that are held anyway get no error;
// for the others, verdicts that relied on the batch do not count.
func (d *Disk) refuse(now time.Time, batch []Item, errs []error, cause error) {
	refused := &ReadOnlyError{d.path, cause}
	d.mu.RLock()
	defer d.mu.RUnlock()
	for i := range batch {
		r := batch[i].Record
		if errs[i] == wire.CodeInvalid || errs[i] == wire.CodeExpired {
			continue
		}
		t := d.x.tick(now)
		e := d.x.find(t, slot{r.Record.Key, r.Record.Kind}, r.Print())
		if errs[i] == nil && e != nil && e.record == nil && !e.renewable(newEntry(now, t, &batch[i])) {
			continue
		}
		errs[i] = refused
	}
}

// saveAll writes states, in order, and returns how many more there are than before.
func saveAll(tx *bolt.Tx, states []*waiter) (more int, err error) {
	b := tx.Bucket(stateBucket)
	for _, w := range states {
		name := []byte(w.name)
		had := b.Get(name) != nil
		if w.data == nil {
			err = b.Delete(name)
		} else {
			err = b.Put(name, appendState(nil, w.name, w.data, tx.ID()))
		}
		switch {
		case err != nil:
			return 0, err
		case had && w.data == nil:
			more--
		case !had && w.data != nil:
			more++
		}
	}
	return more, nil
}
