package store

import (
	"encoding/binary"
	"errors"
	"hash/fnv"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// mutate applies edits to a file: each is an offset of three bytes, a length of one
// and that many bytes; the remainder is cut off the end. With mend, the heads get valid
// checksums, so that more damage gets past them.
func mutate(file, edits []byte, mend bool) []byte {
	file = append([]byte(nil), file...)
	for len(edits) >= 4 && len(file) > 0 {
		at, n := int(binary.BigEndian.Uint32(edits)>>8), min(int(edits[3]), len(edits)-4)
		edits = edits[4:]
		copy(file[at%len(file):], edits[:n])
		edits = edits[n:]
	}
	for i := 0; mend && i < 2; i++ {
		if m := file[i*pageSize:]; len(m) >= pageHead+metaLen {
			h := fnv.New64a()
			h.Write(m[pageHead : pageHead+metaLen-8])
			native.PutUint64(m[pageHead+metaLen-8:], h.Sum64())
		}
	}
	if len(edits) > 0 {
		file = file[:max(0, len(file)-int(edits[0])*16)]
	}
	return file
}

// For any file, Open, the methods of the opened store, Check and Salvage neither panic nor
// return a record that was not put.
func FuzzFile(f *testing.F) {
	withoutSync(f)
	s := makeSample(f, 2, 700)
	f.Add([]byte{}, false)
	f.Add([]byte{7}, false)                                        // cut
	f.Add([]byte{0, 0, 24, 4, 0, 4, 0, 0}, true)                   // another page size
	f.Add([]byte{0, 0, 32, 1, 5, 0, 16, 32, 1, 5}, true)           // another root
	f.Add([]byte{0, 0, 48, 1, 9}, true)                            // another free list
	f.Add([]byte{0, 0, 56, 8, 255, 255, 255, 255, 0, 0, 0}, true)  // another high water mark
	f.Add([]byte{0, 48, 10, 2, 255, 255}, false)                   // a count
	f.Add([]byte{0, 64, 12, 4, 255, 255, 255, 255, 1, 2}, false)   // an overflow
	f.Add([]byte{0, 80, 20, 8, 255, 255, 255, 255, 0, 1, 0}, true) // a position
	path := filepath.Join(f.TempDir(), "store")
	f.Fuzz(func(t *testing.T, edits []byte, mend bool) {
		file := mutate(s.file, edits, mend)
		mutant(t, path, file)
		defer os.Remove(path)
		now := after(2 * time.Minute)
		Check(path)
		s.rescue(t, path, "fuzzed")
		d, err := Open(path, Options{Now: now})
		if err != nil {
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrForeign) {
				t.Fatalf("Open says %v", err)
			}
			return
		}
		defer d.Close()
		d.db.AllocSize = pageSize
		for h := range d.All(now) {
			r := d.Load(now, h)
			if r == nil {
				continue
			}
			if want := s.records[name(r)]; (want == nil || !same(want, r)) && !s.old[string(r.Payload)] {
				t.Fatalf("a record that was never put: %v", r.Record)
			}
		}
		for i := range 5 {
			d.Put(now, []Item{{Record: open(t, 500*i, i, 4, after(time.Hour), "new")}, {Record: owned(t, "name 0", 0, uint64(i), after(time.Hour), "o")}})
		}
		names, _ := d.Names("")
		for _, name := range names {
			d.Saved(name)
		}
		d.Save("new", make([]byte, 9000))
		d.WriteTo(io.Discard)
		d.Expire(after(time.Hour))
		d.Expire(after(10 * 24 * time.Hour))
		d.Report()
	})
}

// A stored record that parses is written back to the same bytes.
func FuzzStored(f *testing.F) {
	r := stored{
		record: open(f, 1, 1, 1, after(time.Hour), "v"), cached: true, account: account{accountOf(from(1, 1)).source, true},
		received: 1, until: 2, forget: 3,
	}
	r.slot, r.publisher = slot{r.record.Record.Key, r.record.Record.Kind}, r.record.Record.Publisher
	f.Add(r.append(nil))
	f.Add((&stored{slot: slot{key(1), wire.KindOwned}, seq: 7, forget: 9}).append(nil))
	f.Add(appendState(nil, "name", []byte("data"), 5))
	f.Fuzz(func(t *testing.T, b []byte) {
		parseStamp(b)
		if name, data, tx, err := parseState(b); err == nil && string(appendState(nil, name, data, int(tx))) != string(b) {
			t.Errorf("state %x is written back otherwise", b)
		}
		s, err := parseStored(b)
		if err != nil {
			// The fuzzer cannot guess a checksum.
			if len(b) > headLen && len(b) < maxStored && string(b[:4]) == recordMagic {
				sealed := append([]byte(nil), b...)
				binary.LittleEndian.PutUint32(sealed[8:], uint32(len(b)))
				if r, err := wire.ParseSigned(b[headLen:]); err == nil && storable(r.Record.Kind) {
					seal(sealed, dbKeyOf(slot{r.Record.Key, r.Record.Kind}, r.Record.Publisher))
				}
				if s, err = parseStored(sealed); err != nil {
					return
				}
				b = sealed
			} else {
				return
			}
		}
		again, err := parseStored(s.append(nil))
		if err != nil {
			t.Fatalf("%x does not parse when written back: %v", b, err)
		}
		if again.dbKey() != s.dbKey() || again.account != s.account || again.until != s.until || again.seq != s.seq {
			t.Errorf("%x is %+v, written back %+v", b, s, again)
		}
	})
}
