package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/kadquic/kadquic/wire"
)

// Check reads all of the store at path and changes nothing. The error wraps
// ErrDamaged where Open's would; ErrLocked while a process has it open for writing.
func Check(path string) (Report, error) {
	f, err := openShared(path)
	if err != nil {
		return Report{}, fmt.Errorf("check store: %w", located(err, path))
	}
	defer f.Close()
	v, err := readInventory(f)
	if err != nil {
		return Report{}, fmt.Errorf("check store: %w", located(err, path))
	}
	for _, l := range v.records {
		if l.e.tomb {
			v.report.Remembered++
		} else {
			v.report.Records++
		}
	}
	return v.report, nil
}

// openShared opens a file for reading, with a lock that other readers can share.
func openShared(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := lockFile(f, false); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Salvage writes the readable part of the store at path, which it does not change, to a new
// one at to, which must not exist. It needs nothing of the file to be whole but
// the records themselves: it looks for them at every byte, checks their checksums
// and signatures, and of several versions keeps the newest. Records that were
// dropped not long ago may come back; they are as valid as ever. The Report is of
// the new store, with Damaged the places that begin as a record and are none.
func Salvage(path, to string, now time.Time) (Report, error) {
	f, err := openShared(path)
	if err != nil {
		return Report{}, fmt.Errorf("salvage: %w", located(err, path))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Report{}, fmt.Errorf("salvage: %w", err)
	}
	s := salvage{f: f, now: now.UnixMilli(), records: make(map[dbKey]*find), states: make(map[string]*find)}
	if err := s.scan(info.Size()); err != nil {
		return s.report, fmt.Errorf("salvage %q: %w", path, err)
	}
	s.report.Recovered = len(s.records) + len(s.states)
	if s.report.Recovered == 0 && !s.ours {
		return s.report, fmt.Errorf("salvage: %w", located(ErrForeign, path))
	}
	if err := build(to, s.write); err != nil {
		return s.report, fmt.Errorf("salvage %q: %w", path, err)
	}
	if info, err := os.Stat(to); err == nil {
		s.report.Bytes = info.Size()
	}
	return s.report, nil
}

type salvage struct {
	f       io.ReaderAt
	now     int64
	ours    bool
	records map[dbKey]*find
	states  map[string]*find
	report  Report
}

// A find is the position in the file of the best version so far.
type find struct {
	at   int64
	size int
	tx   uint64 // of a state

	tomb, cached bool // of a record
	seq          uint64
	expiry       int64
	until        int64
}

const (
	chunk    = 1 << 20
	patience = 64 // how many times its size is read of a file for what turns out to be nothing
)

// scan searches for the first bytes of records and states, at every offset.
func (s *salvage) scan(size int64) error {
	w := window{f: s.f, size: size}
	budget, seen := size*patience, int64(0)
	for at := int64(0); at < size; {
		b := w.from(at, 12)
		if len(b) == 0 { // a part of the disk that cannot be read
			s.report.lost("byte %d: unreadable", at)
			at = (at/pageSize + 1) * pageSize
			continue
		}
		if end := at + int64(len(b)); end > seen {
			s.ours = s.ours || bytes.Contains(b, []byte(format))
			seen = end
		}
		i := bytes.Index(b, []byte(recordMagic[:2]))
		if i < 0 {
			at += int64(max(len(b)-len(format), 1))
			continue
		}
		at += int64(i)
		want := storedLen(w.from(at, 12))
		if want == 0 || at+int64(want) > size || want > maxStored && budget < 0 {
			at++
			continue
		}
		if value := w.from(at, want); len(value) >= want && s.found(at, value[:want]) {
			at += int64(want)
			continue
		}
		budget -= int64(want)
		s.report.Damaged++
		s.report.lost("byte %d: what begins as a record of %d bytes is none, or not whole", at, want)
		at++
	}
	return nil
}

// A window reads a file in large pieces.
type window struct {
	f    io.ReaderAt
	size int64
	at   int64
	buf  []byte
}

// from returns buffered bytes of the file from at on: at least n, unless the file ends before or
// cannot be read.
func (w *window) from(at int64, n int) []byte {
	if end := w.at + int64(len(w.buf)); at < w.at || at+int64(n) > end && end < w.size || at >= end {
		for _, size := range []int{max(n, chunk), max(n, pageSize)} { // the smaller beside a bad sector
			if cap(w.buf) < size {
				w.buf = make([]byte, size)
			}
			got, err := w.f.ReadAt(w.buf[:size], at)
			w.at, w.buf = at, w.buf[:got]
			if err == nil || err == io.EOF || got >= n {
				break
			}
		}
	}
	if at >= w.at+int64(len(w.buf)) {
		return nil
	}
	return w.buf[at-w.at:]
}

// found notes a record or state if it is whole, and the best so far.
func (s *salvage) found(at int64, value []byte) bool {
	if string(value[:4]) == stateMagic {
		name, _, tx, err := parseState(value)
		if err != nil {
			return false
		}
		if old := s.states[name]; old == nil || tx > old.tx {
			s.states[name] = &find{at: at, size: len(value), tx: tx}
		}
		return true
	}
	r, err := parseStored(value)
	if err != nil {
		return false
	}
	f := &find{at: at, size: len(value), tomb: r.record == nil, cached: r.cached, seq: r.seq, until: r.until}
	if f.tomb && r.forget <= s.now {
		return true
	}
	if !f.tomb {
		f.expiry = r.record.Record.Expiry.UnixMilli()
		if r.record.Verify(r.record.Record.Expiry.Add(-time.Millisecond)) != nil {
			return false
		}
		if max(r.until, r.forget) <= s.now-ms24h {
			return true // ended so long ago that a wrong clock cannot be the cause
		}
	}
	key := r.dbKey()
	if old := s.records[key]; old == nil || s.newer(f, value, old) {
		s.records[key] = f
	}
	return true
}

// newer reports whether f, which is value, stands before old, of the same key.
func (s *salvage) newer(f *find, value []byte, old *find) bool {
	switch {
	case f.seq != old.seq && (f.tomb || old.tomb):
		return f.seq > old.seq
	case f.tomb != old.tomb:
		return old.tomb // the record itself rather than its number
	case f.tomb:
		return false
	}
	a, errA := parseStored(value)
	b, errB := s.read(old)
	switch {
	case errA != nil || errB != nil || b.record == nil:
		return errB != nil
	case same(a.record, b.record):
		if f.cached != old.cached {
			return old.cached
		}
		return f.until > old.until
	case a.slot.kind == wire.KindContent:
		return wire.Better(a.record, b.record)
	}
	return wire.Newer(a.record, b.record)
}

func (s *salvage) read(f *find) (*stored, error) {
	value, err := s.value(f)
	if err != nil {
		return nil, err
	}
	return parseStored(value)
}

func (s *salvage) value(f *find) ([]byte, error) {
	value := make([]byte, f.size)
	_, err := s.f.ReadAt(value, f.at)
	return value, err
}

// write fills a new store with the salvaged records and states.
func (s *salvage) write(db *bolt.DB) error {
	type item struct {
		bucket, key []byte
		find        *find
	}
	var items []item
	for _, key := range slices.SortedFunc(maps.Keys(s.records), func(a, b dbKey) int { return bytes.Compare(a[:], b[:]) }) {
		f := s.records[key]
		items = append(items, item{recordBucket, key.bytes(), f})
		if f.tomb {
			s.report.Remembered++
		} else {
			s.report.Records++
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.states)) {
		items = append(items, item{stateBucket, []byte(name), s.states[name]})
		s.report.States++
	}
	for len(items) > 0 {
		now := items[:min(1000, len(items))]
		items = items[len(now):]
		err := db.Update(func(tx *bolt.Tx) error {
			var errs []error
			for _, it := range now {
				value, err := s.value(it.find)
				if err == nil {
					err = tx.Bucket(it.bucket).Put(it.key, value)
				}
				errs = append(errs, err)
			}
			return errors.Join(errs...)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
