package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	bolt "go.etcd.io/bbolt"

	"testing"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// mustOpen opens the store of the node at the zero key.
func mustOpen(t interface {
	Helper()
	Fatal(...any)
}, path string, l Limits, now time.Time) *Disk {
	t.Helper()
	d, err := Open(path, Options{Limits: l, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// withoutSync turns off syncs, for tests in which no machine crashes.
func withoutSync(t testing.TB) {
	noSync = true
	t.Cleanup(func() { noSync = false })
}

func newDisk(t testing.TB, l Limits) (d *Disk, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "store")
	d = mustOpen(t, path, l, noon)
	t.Cleanup(func() { d.Close() })
	return d, path
}

// again closes the store and opens it at another time.
func again(t testing.TB, d *Disk, now time.Time) *Disk {
	t.Helper()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = mustOpen(t, d.path, d.x.limits, now)
	t.Cleanup(func() { d.Close() })
	return d
}

func TestRecordsSurviveARestart(t *testing.T) {
	d, path := newDisk(t, Limits{})
	if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("made with mode %v, %v", info.Mode(), err)
	}
	r := owned(t, "name", 0, 7, after(time.Hour), "v")
	o := open(t, 1, 1, 1, after(2*time.Hour), strings.Repeat("v", 8000))
	wantPutItem(t, d, noon, Item{Record: r, Source: from(1, 1)}, wire.CodeOK)
	wantPutItem(t, d, noon, Item{Record: o, Cached: true, Life: time.Minute}, wire.CodeOK)
	d = again(t, d, after(30*time.Second))
	wantGet(t, d, after(30*time.Second), r, r)
	wantGet(t, d, after(30*time.Second), o, o)
	if h := held(d, after(time.Second))[1]; !h.Cached || !h.Until.Equal(after(time.Minute)) || !h.Received.Equal(noon) {
		t.Errorf("held %+v", h)
	}
	if len(d.x.use.by) != 1 || d.Len() != 2 {
		t.Errorf("%d sources, %d records", len(d.x.use.by), d.Len())
	}
	wantGet(t, d, after(time.Minute), o)
	wantPut(t, d, after(time.Minute), owned(t, "name", 0, 6, after(2*time.Hour), "older"), wire.CodeStale)
}

// A rollback is refused also after the record ended and after a restart, for a week.
func TestSequenceIsRememberedOnDisk(t *testing.T) {
	d, _ := newDisk(t, Limits{})
	wantPut(t, d, noon, owned(t, "name", 0, 7, after(time.Hour), "v"), wire.CodeOK)
	wantPut(t, d, noon, owned(t, "other", 0, 7, after(time.Hour), "v"), wire.CodeOK)
	d.Expire(after(time.Hour))
	for day := range 7 {
		now := after(time.Duration(day)*24*time.Hour + 2*time.Hour)
		d = again(t, d, now)
		for _, name := range []string{"name", "other"} {
			wantPut(t, d, now, owned(t, name, 0, 6, now.Add(time.Hour), "older"), wire.CodeStale)
			if seq, ok := d.Seq(now, owned(t, name, 0, 6, now, "").Record.Key); seq != 7 || !ok {
				t.Errorf("day %d: sequence %d, %v", day, seq, ok)
			}
		}
		d.Expire(now)
	}
	d = again(t, d, after(SeqMemory))
	wantPut(t, d, after(SeqMemory), owned(t, "name", 0, 6, after(SeqMemory+time.Hour), "older"), wire.CodeOK)
}

func TestOnlyOneProcessHasTheFile(t *testing.T) {
	d, path := newDisk(t, Limits{})
	if _, err := Open(path, Options{Now: noon}); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), path) {
		t.Errorf("a second Open says %v", err)
	}
	if _, err := Check(path); !errors.Is(err, ErrLocked) {
		t.Errorf("Check says %v", err)
	}
	if _, err := Salvage(path, path+"2", noon); !errors.Is(err, ErrLocked) {
		t.Errorf("Salvage says %v", err)
	}
	wantPut(t, d, noon, small(t, 1), wire.CodeOK)
	if err := errors.Join(d.Close(), d.Close()); err != nil {
		t.Error(err)
	}
	if r, err := Check(path); err != nil || r.Records != 1 {
		t.Errorf("Check says %v, %v", r, err)
	}
}

// The clock is behind at boot: no record lives longer than its signed life.
func TestClockBehindAtOpen(t *testing.T) {
	d, _ := newDisk(t, Limits{})
	r := open(t, 1, 0, 1, after(3*time.Hour), "v")
	wantPut(t, d, noon, r, wire.CodeOK)
	wantPut(t, d, after(time.Hour), open(t, 2, 0, 1, after(9*time.Hour), "stamps the file"), wire.CodeOK)
	boot := time.Unix(0, 0)
	d = again(t, d, boot)
	wantGet(t, d, boot.Add(2*time.Hour-1), r, r)
	wantGet(t, d, boot.Add(2*time.Hour), r)
	if h := held(d, boot)[1]; !h.Received.Before(boot) {
		t.Errorf("received %v, before the process began", h.Received)
	}
}

// The clock is ahead at boot and is set later: records that seemed to have ended return.
func TestClockAheadAtOpen(t *testing.T) {
	d, _ := newDisk(t, Limits{})
	r, o := open(t, 1, 0, 1, after(3*time.Hour), "v"), owned(t, "name", 0, 5, after(2*time.Hour), "owned")
	replaced := owned(t, "replaced", 0, 5, after(2*time.Hour), "replaced")
	for _, r := range []*wire.Signed{r, o, replaced} {
		wantPut(t, d, noon, r, wire.CodeOK)
	}
	ahead := after(50 * time.Hour)
	d = again(t, d, ahead)
	if d.Len() != 0 || d.Report().Dormant != 3 {
		t.Errorf("%d records, %v", d.Len(), d.Report())
	}
	wantGet(t, d, ahead, r)
	wantPut(t, d, ahead, owned(t, "name", 0, 4, ahead.Add(time.Hour), "rollback"), wire.CodeStale)
	newer := owned(t, "replaced", 0, 6, ahead.Add(time.Hour), "newer")
	wantPut(t, d, ahead, newer, wire.CodeOK)
	if n := d.Expire(ahead.Add(time.Minute)); n != 0 || d.Report().Dormant != 3 {
		t.Errorf("dropped %d, %v", n, d.Report())
	}
	// The clock is set: the monotonic clock continues, the wall clock jumps back. (These
	// times have no monotonic reading, so that the store's base is moved instead.)
	d.x.base = d.x.base.Add(-49 * time.Hour)
	now := after(time.Hour + 2*time.Minute)
	d.Expire(now)
	wantGet(t, d, now, r, r)
	wantGet(t, d, now, o, o)
	wantGet(t, d, now, newer, newer)
	if h := held(d, now)[1]; !h.Until.Equal(after(3 * time.Hour)) {
		t.Errorf("it is to end at %v, not when it was", h.Until)
	}
	check(t, d.x)
	d = again(t, d, now) // of a file with a stamp from the future
	wantGet(t, d, now, r, r)
}

// The records of one of few neighbours return too, though they exceed the share of one of
// many.
func TestShareOfANeighbourWakes(t *testing.T) {
	d, _ := newDisk(t, Limits{Bytes: 8 * unit(t), SourceBytes: unit(t)})
	for i := range 4 {
		wantPutItem(t, d, noon, Item{Record: small(t, i), Source: from(1, 1), Neighbour: true, Neighbours: 2}, wire.CodeOK)
	}
	d = again(t, d, after(50*time.Hour))
	if d.Len() != 0 || d.Report().Dormant != 4 {
		t.Fatalf("%d records, %v", d.Len(), d.Report())
	}
	d.x.base = d.x.base.Add(-50 * time.Hour) // the clock is set, see TestClockAheadAtOpen
	d.Expire(noon)
	if d.Len() != 4 {
		t.Errorf("%d of 4 records woke", d.Len())
	}
	check(t, d.x)
}

// An ended record is gone from the file after an hour, except for its sequence number.
func TestDormantRecordsGoAfterAnHour(t *testing.T) {
	d, path := newDisk(t, Limits{})
	for i := range 20 {
		wantPut(t, d, noon, small(t, i), wire.CodeOK)
	}
	wantPut(t, d, noon, owned(t, "name", 0, 5, after(time.Hour), "owned"), wire.CodeOK)
	now := after(2 * time.Hour)
	d = again(t, d, now)
	d.Expire(now.Add(59 * time.Minute))
	if n := d.Report().Dormant; n != 21 {
		t.Errorf("%d dormant after 59 minutes", n)
	}
	d.Expire(now.Add(time.Hour))
	if r := d.Report(); r.Dormant != 0 || r.Remembered != 1 {
		t.Errorf("after an hour: %v", r)
	}
	d.Close()
	if r, err := Check(path); err != nil || r.Records != 0 || r.Remembered != 1 {
		t.Errorf("the file holds %v, %v", r, err)
	}
}

func TestStates(t *testing.T) {
	d, _ := newDisk(t, Limits{})
	big := bytes.Repeat([]byte("x"), 1<<20)
	for name, data := range map[string][]byte{"peers": big, "published/a": []byte("1"), "published/b": {}, "gone": []byte("g")} {
		if err := d.Save(name, data); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(d.Save("gone", nil), d.Save("never was", nil), d.Save("published/a", []byte("2"))); err != nil {
		t.Error(err)
	}
	if err := d.Save("", nil); err == nil {
		t.Error("saved without a name")
	}
	d = again(t, d, after(time.Hour))
	if names, err := d.Names("published/"); err != nil || !slices.Equal(names, []string{"published/a", "published/b"}) {
		t.Errorf("names %q, %v", names, err)
	}
	for name, want := range map[string][]byte{"peers": big, "published/a": []byte("2"), "published/b": {}, "gone": nil} {
		if got, err := d.Saved(name); err != nil || !bytes.Equal(got, want) || (got == nil) != (want == nil) {
			t.Errorf("state %q: %d bytes, %v", name, len(got), err)
		}
	}
	if n := d.Report().States; n != 3 {
		t.Errorf("%d states", n)
	}
}

// A record that is damaged while the store is open is not returned, reported and dropped.
func TestDamageWhileOpen(t *testing.T) {
	d, path := newDisk(t, Limits{})
	a, b := owned(t, "name", 0, 5, after(time.Hour), "the value of a"), open(t, 1, 1, 1, after(time.Hour), "the value of b")
	wantPut(t, d, noon, a, wire.CodeOK)
	wantPut(t, d, noon, b, wire.CodeOK)
	file, _ := os.ReadFile(path)
	for i := 0; ; { // in every copy: older pages have it too
		j := bytes.Index(file[i:], []byte("the value of a"))
		if j < 0 {
			break
		}
		poke(t, path, i+j, 'T')
		i += j + 1
	}
	wantGet(t, d, noon, a)
	wantGet(t, d, noon, b, b)
	if d.Has(noon, a) || d.Report().Damaged != 1 {
		t.Errorf("Has says %v, %v", d.Has(noon, a), d.Report())
	}
	wantPut(t, d, noon, owned(t, "name", 0, 4, after(time.Hour), "rollback"), wire.CodeStale)
	wantPut(t, d, noon, a, wire.CodeOK)
	wantGet(t, d, noon, a, a)
	d = again(t, d, noon)
	wantGet(t, d, noon, a, a)
	if d.Report().Damaged != 0 {
		t.Errorf("after mending: %v", d.Report())
	}
}

// The file is truncated while the store is open: its pages fault. The process survives.
func TestFileCutWhileOpen(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a mapped file cannot be cut there")
	}
	d, path := newDisk(t, Limits{})
	r := open(t, 1, 1, 1, after(time.Hour), strings.Repeat("v", 8000))
	wantPut(t, d, noon, r, wire.CodeOK)
	wantPut(t, d, noon, small(t, 2), wire.CodeOK)
	if err := os.Truncate(path, 2*pageSize); err != nil {
		t.Fatal(err)
	}
	wantGet(t, d, noon, r)
	for i := range 3 {
		wantPut(t, d, noon, small(t, 100+i), wire.CodeReadOnly)
	}
	if _, err := d.Saved("x"); err == nil {
		t.Error("a state was read")
	}
	d.Expire(after(time.Minute))
	if r := d.Report(); r.ReadOnly == nil || r.Damaged == 0 {
		t.Errorf("report %v", r)
	}
}

// Offer reports a record as held only when it would survive a crash.
func TestOfferIsNoEarlyAcknowledgement(t *testing.T) {
	d, _ := newDisk(t, Limits{})
	r := small(t, 1)
	d.mu.Lock()
	d.x.put(noon, &Item{Record: r})
	d.mu.Unlock()
	offer := []wire.Offered{{Kind: r.Record.Kind, Key: r.Record.Key, Print: r.Print()}}
	if !d.Offer(noon, offer, nil)[0] {
		t.Error("held, says the store, and has not written it")
	}
	wantGet(t, d, noon, r, r)
	if err := d.commit(noon, d.x.log.take(), nil); err != nil || d.Offer(noon, offer, nil)[0] {
		t.Errorf("not held, says the store that has written it (%v)", err)
	}
}

// A commit whose last sync failed may be in the file or not: its head is written again before
// the next commit.
func TestHeadIsWrittenAgain(t *testing.T) {
	d, _ := newDisk(t, Limits{})
	wantPut(t, d, noon, small(t, 1), wire.CodeOK)
	d.unsynced = d.current()
	wantPut(t, d, noon, small(t, 2), wire.CodeOK)
	if d.unsynced != 0 {
		t.Error("the head was not written again")
	}
	d = again(t, d, noon)
	if d.Len() != 2 {
		t.Errorf("%d records", d.Len())
	}
}

// Calls after Close are refused, also when the last sync had failed.
func TestPutAfterClose(t *testing.T) {
	d, path := newDisk(t, Limits{})
	r := small(t, 1)
	wantPut(t, d, noon, r, wire.CodeOK)
	d.unsynced = d.current()
	file := d.file
	var err error
	if d.file, err = os.Open(path); err != nil { // which cannot be written
		t.Fatal(err)
	}
	if err := d.Close(); err == nil {
		t.Error("closed without an error")
	}
	d.file.Close()
	d.file = file
	wantPut(t, d, noon, small(t, 2), wire.CodeReadOnly)
	if err := d.Save("state", []byte("s")); !errors.Is(err, wire.CodeReadOnly) {
		t.Errorf("a state was saved: %v", err)
	}
	if n := d.Expire(after(24 * time.Hour)); n != 0 {
		t.Errorf("dropped %d", n)
	}
}

func TestCopyWhileInUse(t *testing.T) {
	withoutSync(t)
	d, path := newDisk(t, Limits{})
	for i := range 200 {
		wantPut(t, d, noon, small(t, i), wire.CodeOK)
	}
	if err := d.Save("peers", []byte("p")); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path + ".copy")
	if err != nil {
		t.Fatal(err)
	}
	n, err := d.WriteTo(slow{f, func() { wantPut(t, d, noon, small(t, 1000+d.Len()), wire.CodeOK) }})
	if info, _ := f.Stat(); err != nil || n != info.Size() {
		t.Errorf("wrote %d of %d bytes, %v", n, info.Size(), err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	c := mustOpen(t, path+".copy", Limits{}, noon)
	defer c.Close()
	if c.Len() != 200 || d.Len() <= 201 || c.Report().Damaged != 0 {
		t.Errorf("the copy holds %v, the store %v", c.Report(), d.Report())
	}
	wantPut(t, c, noon, small(t, 5000), wire.CodeOK)
}

// slow calls a function before every Write.
type slow struct {
	io.Writer
	before func()
}

func (s slow) Write(b []byte) (int, error) {
	s.before()
	return s.Writer.Write(b)
}

// All methods run at once, for the race detector. All acknowledged records are held.
func TestManyAtOnce(t *testing.T) {
	withoutSync(t)
	d, _ := newDisk(t, Limits{})
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 60 {
				r := open(t, g*100+i%30, g, uint64(i), after(time.Hour), fmt.Sprint(g, i))
				if err := d.Put(noon, []Item{{Record: r}})[0]; err != nil {
					t.Error(err)
				}
				if !d.Has(noon, r) {
					t.Error("acknowledged and not there")
				}
				d.Offer(noon, []wire.Offered{{Kind: r.Record.Kind, Key: r.Record.Key, Print: r.Print()}}, func(int) bool { return true })
			}
		})
		wg.Go(func() {
			for i := range 60 {
				for _, r := range d.Get(noon, wire.KindOpen, key(g*100+i%30), 4) {
					if r.Verify(noon) != nil {
						t.Error("a record that does not verify")
					}
				}
				d.Expire(noon)
				d.Report()
				d.Save("state", []byte{byte(i)})
			}
			for h := range d.All(noon) {
				d.Load(noon, h)
			}
		})
	}
	wg.Wait()
	check(t, d.x)
	if r := d.Report(); r.Damaged != 0 || r.Records != 120 {
		t.Errorf("%v", r)
	}
}

// All Puts that arrive while a transaction is written share the next one.
func TestOneCommitServesManyCallers(t *testing.T) {
	d, _ := newDisk(t, Limits{})
	before := d.current()
	const callers = 40
	d.writing.Lock() // a transaction is written
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			if err := d.Put(after(time.Duration(i)), []Item{{Record: small(t, i)}})[0]; err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			if err := d.Save(fmt.Sprint("state ", i), []byte("s")); err != nil {
				t.Error(err)
			}
		})
	}
	for queued := 0; queued < 2*callers; runtime.Gosched() {
		d.queued.Lock()
		queued = len(d.waiting)
		d.queued.Unlock()
	}
	d.writing.Unlock()
	wg.Wait()
	if n := d.current() - before; n != 1 {
		t.Errorf("%d callers were served by %d transactions", 2*callers, n)
	}
	d = again(t, d, after(time.Minute))
	if r := d.Report(); r.Records != callers || r.States != callers {
		t.Errorf("%v", r)
	}
}

// Reads do not wait while a commit waits for the disk.
func TestReadsDoNotWaitForTheDisk(t *testing.T) {
	d, _ := newDisk(t, Limits{})
	r := small(t, 1)
	wantPut(t, d, noon, r, wire.CodeOK)
	writing, release, done := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		d.writing.Lock()
		defer d.writing.Unlock()
		done <- d.update(noon, func(*bolt.Tx) error {
			close(writing)
			<-release
			return nil
		})
	}()
	<-writing
	wantGet(t, d, noon, r, r)
	if !d.Has(noon, r) || d.Offer(noon, []wire.Offered{{Kind: r.Record.Kind, Key: r.Record.Key, Print: r.Print()}}, nil)[0] {
		t.Error("not held")
	}
	for h := range d.All(noon) {
		if d.Load(noon, h) == nil {
			t.Error("not loaded")
		}
	}
	if d.Len() != 1 || d.Report().Records != 1 {
		t.Error("not counted")
	}
	if _, err := d.Saved("x"); err != nil {
		t.Error(err)
	}
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
