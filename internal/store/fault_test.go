package store

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// A sample is a database of some size: its bytes and its last contents.
type sample struct {
	file    []byte
	records map[string]*wire.Signed // by key and publisher
	old     map[string]bool         // payloads of versions that were replaced
	states  map[string]string
	seqs    map[string]*wire.Signed // owned, ended: their sequence is remembered
}

func name(r *wire.Signed) string {
	s := stored{record: r, slot: slot{r.Record.Key, r.Record.Kind}, publisher: r.Record.Publisher}
	k := s.dbKey()
	return string(k.bytes())
}

// makeSample puts n records of each kind in a database, some in several versions.
func makeSample(t testing.TB, n, size int) *sample {
	path := filepath.Join(t.TempDir(), "sample")
	d := mustOpen(t, path, Limits{}, noon)
	d.db.AllocSize = pageSize // so that every byte of the file counts
	s := &sample{records: make(map[string]*wire.Signed), old: make(map[string]bool), states: make(map[string]string), seqs: make(map[string]*wire.Signed)}
	put := func(r *wire.Signed) {
		wantPutItem(t, d, noon, Item{Record: r, Source: from(1, 1)}, wire.CodeOK)
		if old := s.records[name(r)]; old != nil {
			s.old[string(old.Payload)] = true
		}
		s.records[name(r)] = r
	}
	value := string(bytes.Repeat([]byte("v"), size))
	for i := range n {
		put(owned(t, fmt.Sprint("gone ", i), i%8, 9, after(time.Minute), "x"))
	}
	for i := range n {
		r := owned(t, fmt.Sprint("gone ", i), i%8, 9, after(time.Minute), "x")
		delete(s.records, name(r))
		s.seqs[name(r)] = r
	}
	for _, version := range []uint64{1, 2, 3} {
		for i := range n {
			put(owned(t, fmt.Sprint("name ", i), i%8, version, after(9*time.Hour), fmt.Sprint(version, value)))
			put(open(t, i*37, i%8, version, after(8*time.Hour), fmt.Sprint(version, value)))
		}
	}
	for i := range n {
		put(content(t, i%8, after(7*time.Hour), fmt.Sprint(i, value)))
	}
	d.Expire(after(time.Minute))
	for _, name := range []string{"peers", "table"} {
		for _, text := range []string{"first", name + value} {
			if err := d.Save(name, []byte(text)); err != nil {
				t.Fatal(err)
			}
			s.states[name] = text
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.file, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	return s
}

// mutant writes a file that may be damaged.
func mutant(t testing.TB, path string, file []byte) {
	t.Helper()
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A judgement counts what a damaged sample still holds.
type judgement struct {
	opened     bool
	lost       int // records, states and sequence numbers that did not come back
	told       int
	report     Report
	err        error
	stateError int
}

// judge opens a damaged copy of a sample, and fails if the store returns anything wrong. It
// changes the file only if work is set.
func (s *sample) judge(t testing.TB, path string, work bool, why string) (j judgement) {
	now := after(2 * time.Minute)
	d, err := Open(path, Options{Now: now})
	if err != nil {
		if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrForeign) {
			t.Fatalf("%s: Open says %v, want damaged or foreign", why, err)
		}
		return judgement{err: err}
	}
	defer d.Close()
	j.opened = true
	held := maps.Collect(func(yield func(string, bool) bool) {
		for h := range d.All(now) {
			r := d.Load(now, h)
			if r == nil {
				continue
			}
			want := s.records[name(r)]
			if want == nil || !same(want, r) {
				t.Fatalf("%s: a record that was not there last: %v", why, r.Record)
			}
			if !yield(name(r), true) {
				return
			}
		}
	})
	for key, r := range s.records {
		if got := d.Get(now, r.Record.Kind, r.Record.Key, 100); len(got) == 1 && same(got[0], r) != held[key] {
			t.Fatalf("%s: All and Get differ on %v", why, r.Record)
		}
		if !held[key] {
			j.lost++
		}
	}
	for _, r := range s.seqs {
		if seq, ok := d.Seq(now, r.Record.Key); !ok {
			j.lost++
		} else if seq != 9 {
			t.Fatalf("%s: sequence %d is remembered, want 9", why, seq)
		}
	}
	for name, want := range s.states {
		got, err := d.Saved(name)
		switch {
		case err != nil:
			j.stateError++
		case got == nil:
			j.lost++
		case string(got) != want:
			t.Fatalf("%s: state %q is %q", why, name, got)
		}
	}
	j.report = d.Report()
	j.told = j.report.Damaged + j.report.DamagedStates
	if j.lost+j.stateError > j.told || j.told > 0 && len(j.report.Losses) == 0 {
		t.Fatalf("%s: %d lost and %d states, told: %v", why, j.lost, j.stateError, j.report)
	}
	if work { // and the store still accepts changes
		if got := put(d, now, Item{Record: open(t, 60000, 1, 1, after(time.Hour), "new")}); got != wire.CodeOK {
			t.Fatalf("%s: put: %v", why, got)
		}
	}
	return j
}

// rescue salvages a damaged file, fails if the result has anything wrong, and returns the
// number of losses.
func (s *sample) rescue(t testing.TB, path, why string) (lost int) {
	to := path + " salvaged"
	defer os.Remove(to)
	now := after(2 * time.Minute)
	if _, err := Salvage(path, to, now); err != nil {
		if !errors.Is(err, ErrForeign) {
			t.Fatalf("%s: Salvage: %v", why, err)
		}
		return len(s.records)
	}
	d := mustOpen(t, to, Limits{}, now)
	defer d.Close()
	if r := d.Report(); r.Damaged+r.DamagedStates != 0 {
		t.Fatalf("%s: the salvaged store: %v", why, r)
	}
	found := 0
	for h := range d.All(now) {
		r := d.Load(now, h)
		if r == nil || r.Verify(now) != nil {
			t.Fatalf("%s: salvaged %+v", why, h)
		}
		if want := s.records[name(r)]; want != nil && same(want, r) {
			found++
		} else if !s.old[string(r.Payload)] {
			t.Fatalf("%s: salvaged %v, which was never put", why, r.Record)
		}
	}
	return len(s.records) - found
}

// One bit is flipped, in every byte of a small database in turn. There is never a wrong value
// or a panic, and losses are reported. Salvage recovers all but the one damaged record. In a
// larger database, where records have separate pages, the test samples the bytes.
func TestEveryFlippedBit(t *testing.T) {
	withoutSync(t)
	for _, c := range []struct{ n, size, step int }{{1, 0, 1}, {2, 700, 11}} {
		if testing.Short() {
			c.step *= 11
		}
		s := makeSample(t, c.n, c.size)
		path := filepath.Join(t.TempDir(), "store")
		mutant(t, path, s.file)
		var opened, unharmed, dropped, refused int
		for i := 0; i < len(s.file); i += c.step {
			poke(t, path, i, s.file[i]^1<<(i*5%8))
			work := i/c.step%50 == 0
			why := fmt.Sprintf("bit flipped in byte %d", i)
			j := s.judge(t, path, work, why)
			switch {
			case !j.opened:
				refused++
				if lost := s.rescue(t, path, why); lost > 1 {
					t.Fatalf("%s: %d records lost by salvage", why, lost)
				}
			case j.told > 0:
				dropped++
			default:
				unharmed++
			}
			if j.opened {
				opened++
			}
			if work {
				mutant(t, path, s.file)
			} else {
				poke(t, path, i, s.file[i])
			}
		}
		t.Logf("%d records in %d bytes: %d flips harm nothing, %d cost a record, %d make Open refuse", len(s.records), len(s.file), unharmed, dropped, refused)
		if opened == 0 || refused == 0 || dropped == 0 {
			t.Errorf("opened %d, refused %d, dropped %d: this test tests nothing", opened, refused, dropped)
		}
	}
}

// poke overwrites one byte of a file.
func poke(t testing.TB, path string, at int, b byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte{b}, int64(at))
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// The file is truncated at every byte of its tail, and elsewhere at every page.
func TestEveryTruncation(t *testing.T) {
	withoutSync(t)
	s := makeSample(t, 2, 700)
	path := filepath.Join(t.TempDir(), "store")
	tail := 2 * pageSize
	for n := 0; n < len(s.file); n++ {
		if n < len(s.file)-tail && n%512 != 0 || testing.Short() && n%7 != 0 {
			continue
		}
		mutant(t, path, s.file[:n])
		why := fmt.Sprintf("cut to %d bytes", n)
		if j := s.judge(t, path, false, why); j.opened {
			if j.lost > 0 {
				t.Fatalf("%s: %d lost", why, j.lost)
			}
			continue
		} else if !errors.Is(j.err, ErrDamaged) {
			t.Fatalf("%s: %v, want damaged", why, j.err)
		}
		if n%256 == 0 {
			s.rescue(t, path, why)
		}
	}
}

// A file that is not a database is distinguished from a damaged database, and stays
// unchanged.
func TestForeignFileIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	text := bytes.Repeat([]byte("Dear diary, "), 3000)
	mutant(t, path, text)
	if _, err := Open(path, Options{Now: noon}); !errors.Is(err, ErrForeign) {
		t.Errorf("opened a diary: %v", err)
	}
	if _, err := Check(path); !errors.Is(err, ErrForeign) {
		t.Errorf("checked a diary: %v", err)
	}
	if _, err := Salvage(path, path+"2", noon); !errors.Is(err, ErrForeign) {
		t.Errorf("salvaged a diary: %v", err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, text) {
		t.Errorf("the diary is changed: %v", err)
	}
	if _, err := Open(t.TempDir(), Options{Now: noon}); err == nil {
		t.Error("opened a directory")
	}
	for _, n := range []int{0, 1, pageSize, 5 * pageSize} { // as a crash of the machine may leave a file
		mutant(t, path, make([]byte, n))
		if _, err := Open(path, Options{Now: noon}); !errors.Is(err, ErrDamaged) {
			t.Errorf("opened %d zero bytes: %v", n, err)
		}
	}
}
