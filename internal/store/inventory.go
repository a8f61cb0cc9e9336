package store

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// An inventory is the content found in a store's file.
type inventory struct {
	tx      uint64 // the last transaction
	stamp   int64  // the last time that it was written, Unix milliseconds; 0 if not told
	format  string // of the file
	records []listed
	scrap   [][]byte // keys of damaged records
	report  Report
}

// A listed record; times are Unix milliseconds.
type listed struct {
	e                       *entry
	account                 account
	received, until, forget int64
}

// readInventory reads all of a store's file. An error says that it is not to be
// opened.
func readInventory(f *os.File) (*inventory, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: no regular file", ErrForeign)
	}
	v := new(inventory)
	v.report.Bytes = info.Size()
	s := survey{f: f, visit: v.visit}
	if err := s.run(info.Size()); err != nil {
		return nil, err
	}
	if err := v.identify(s.buckets); err != nil {
		return nil, err
	}
	v.tx = s.meta.tx
	return v, nil
}

// identify reports whether these are the buckets of a store, in order, in the known format. A
// name that is almost right is damage, not another program's file.
func (v *inventory) identify(buckets []string) error {
	var ours []string
	for _, b := range [][]byte{aboutBucket, recordBucket, stateBucket} {
		if slices.Contains(buckets, string(b)) {
			ours = append(ours, string(b))
		}
	}
	switch {
	case len(ours) == 0:
		return fmt.Errorf("%w: a database of something else", ErrForeign)
	case len(ours) < 3 || len(buckets) > 3:
		return damage(-1, "the buckets are %.64q", buckets)
	case v.format == "":
		return damage(-1, "no format is named")
	case v.format != format:
		return fmt.Errorf("%w, or of another version: its format is %.64q", ErrForeign, v.format)
	}
	return nil
}

// visit notes a key and value of a bucket, see survey.
func (v *inventory) visit(bucket string, page int64, key, value []byte) {
	switch bucket {
	case string(aboutBucket):
		switch string(key) {
		case string(formatKey):
			v.format = string(value)
		case string(stampKey):
			v.stamp, _ = parseStamp(value)
		}
	case string(recordBucket):
		v.record(page, key, value)
	case string(stateBucket):
		if name, _, _, err := parseState(value); err != nil || name != string(key) {
			v.report.DamagedStates++
			v.report.lost("page %d: state %.64q: %v", page, key, orWrongName(err))
			return
		}
		v.report.States++
	}
}

func orWrongName(err error) error {
	if err == nil {
		return fmt.Errorf("wrong name")
	}
	return err
}

func (v *inventory) record(page int64, key, value []byte) {
	s, err := parseStored(value)
	if err == nil {
		if k := s.dbKey(); !bytes.Equal(k.bytes(), key) {
			err = fmt.Errorf("it stands under another key")
		}
	}
	if err != nil {
		v.report.Damaged++
		v.report.lost("page %d: record %.72x: %v", page, key, err)
		v.scrap = append(v.scrap, bytes.Clone(key))
		return
	}
	e := &entry{slot: s.slot, tomb: true, seq: s.seq, size: tombSize, index: -1}
	if s.record != nil {
		e = entryOf(s.record)
		e.cached = s.cached
	}
	v.records = append(v.records, listed{e, s.account, s.received, s.until, s.forget})
}

// fill makes the index and the other fields of d from the inventory.
//
// The rest of a record's life is counted from now, or from the stamp of the last write if that
// is later than the clock, and is never more than at receipt. If all records would have ended
// by the stamp and none by the clock, the stamp was wrong: the clock ran ahead and has
// been set.
func (d *Disk) fill(now time.Time, v *inventory) {
	x := d.x
	ms := now.UnixMilli()
	from := max(ms, v.stamp)
	d.stamped, d.scrap, d.report = v.stamp, v.scrap, v.report
	for _, l := range v.records {
		since := func(until int64) int64 {
			if until <= from && l.received <= ms {
				return ms
			}
			return from
		}
		until := min(l.until, l.received+ms24h)
		left := until - since(until)
		remembered := min(l.forget-since(l.forget), SeqMemory.Milliseconds())
		e := l.e
		e.from = x.use.tally(l.account)
		e.received = min(ticks(l.received-ms), -1)
		e.forget = ticks(max(remembered, 0))
		switch {
		case e.tomb && remembered <= 0:
			key := e.dbKey()
			d.scrap = append(d.scrap, key.bytes())
			continue
		case e.tomb:
			e.until = e.forget
		case left <= 0:
			d.dormant = append(d.dormant, dormant{e.slot, e.publisher, e.print, l.received, l.until})
			if e = e.grave(); e == nil || remembered <= 0 {
				continue
			}
			e.dirty = false // the record still tells it
		default:
			left = min(left, l.until-l.received)
			e.until = ticks(left)
			e.end = max(e.until, ticks(min(e.expiry-since(until), ms24h)))
		}
		x.insert(e)
	}
	d.report.Dormant = len(d.dormant)
}

// ms24h is the longest life of a record.
const ms24h = int64((wire.MaxTTL + wire.MaxSkew) / time.Millisecond)

// ticks converts milliseconds.
func ticks(ms int64) int64 { return ms * int64(time.Millisecond) }
