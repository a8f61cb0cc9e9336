//go:build linux || darwin

package store

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// limitFiles lets no file of this process grow beyond size, as a full disk does not.
func limitFiles(t *testing.T, size int64) (lift func()) {
	t.Helper()
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Skip("no limits on files here:", err)
	}
	signal.Ignore(syscall.SIGXFSZ)
	set := func(cur uint64) {
		l := old
		l.Cur = cur
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &l); err != nil {
			t.Skip("no limits on files here:", err)
		}
	}
	set(uint64(size))
	lift = func() { set(old.Cur) }
	t.Cleanup(lift)
	return lift
}

// ownProcess runs the test in a separate process, and reports whether this is that process:
// a file limit applies to the whole process, and would limit the go command's files too.
func ownProcess(t *testing.T) bool {
	t.Helper()
	if os.Getenv("KADQUIC_FULL_DISK") != "" {
		return true
	}
	child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	child.Env = append(os.Environ(), "KADQUIC_FULL_DISK=1")
	out, err := child.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
	return false
}

// While the disk is full, a STORE is refused and a get is answered; afterwards both succeed.
// No acknowledged record is missing, and no refused record is held.
func TestFullDisk(t *testing.T) {
	if !ownProcess(t) {
		return
	}
	d, _ := newDisk(t, Limits{})
	d.db.AllocSize = pageSize
	lift := limitFiles(t, 200_000)
	d = fill(t, d, lift)
	for i := range 20 {
		wantPut(t, d, noon, open(t, 3000+i, 0, 1, after(time.Hour), "room again"), wire.CodeOK)
	}
}

// fill puts until the disk is full, checks the store, makes room and checks again.
func fill(t *testing.T, d *Disk, room func()) *Disk {
	t.Helper()
	var in, out []*wire.Signed
	for i := 0; len(out) < 30; i++ {
		r := open(t, i, i%8, 1, after(time.Hour), strings.Repeat("v", 3000))
		err := d.Put(noon, []Item{{Record: r}})[0]
		if err == nil {
			in = append(in, r)
			continue
		}
		var refused *ReadOnlyError
		if !errors.Is(err, wire.CodeReadOnly) || !errors.As(err, &refused) {
			t.Fatalf("refused with %v", err)
		}
		if len(out) == 0 {
			t.Log(err)
		}
		out = append(out, r)
		if i > 2000 {
			t.Fatal("this disk is never full")
		}
	}
	look := func(d *Disk, now time.Time) {
		t.Helper()
		check(t, d.x)
		for _, r := range in {
			wantGet(t, d, now, r, r)
		}
		for _, r := range out {
			wantGet(t, d, now, r)
		}
		if d.Len() != len(in) {
			t.Errorf("%d records held, want %d", d.Len(), len(in))
		}
	}
	look(d, noon)
	wantPut(t, d, noon, in[0], wire.CodeOK) // held already: nothing to write
	if d.Report().ReadOnly == nil || len(in) < 10 {
		t.Errorf("%d in, report %v", len(in), d.Report())
	}
	if err := d.Save("state", make([]byte, 100_000)); !errors.Is(err, wire.CodeReadOnly) {
		t.Errorf("a state was saved: %v", err)
	}
	d = again(t, d, noon)
	look(d, noon)
	room()
	for _, r := range out {
		wantPut(t, d, noon, r, wire.CodeOK)
	}
	if d.Report().ReadOnly != nil {
		t.Errorf("report %v", d.Report())
	}
	in, out = append(in, out...), nil
	d = again(t, d, noon)
	look(d, noon)
	return d
}

// All Puts that wait for one commit get the same result: after a restart, acknowledged
// records are held and refused records are not.
func TestFullDiskForMany(t *testing.T) {
	if !ownProcess(t) {
		return
	}
	d, _ := newDisk(t, Limits{})
	d.db.AllocSize = pageSize
	lift := limitFiles(t, 400_000)
	const callers, each = 16, 12
	var records [callers][each]*wire.Signed
	var acked, saved [callers][each]bool
	for i := range callers {
		for j := range each {
			records[i][j] = open(t, 100*i+j, i%8, 1, after(time.Hour), strings.Repeat("v", 3000))
		}
	}
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for j, r := range records[i] {
				errs := d.Put(noon, []Item{{Record: r}, {Record: r}}) // twice: the second answer is that it is held
				if acked[i][j] = errs[0] == nil; !acked[i][j] && !errors.Is(errs[0], wire.CodeReadOnly) || (errs[1] == nil) != acked[i][j] {
					t.Errorf("put: %v", errs)
				}
			}
		})
		wg.Go(func() {
			for j := range each {
				err := d.Save(fmt.Sprint(i, " ", j), make([]byte, 500))
				if saved[i][j] = err == nil; err != nil && !errors.Is(err, wire.CodeReadOnly) {
					t.Errorf("save: %v", err)
				}
			}
		})
	}
	wg.Wait()
	in, states := 0, 0
	look := func(d *Disk) {
		t.Helper()
		in, states = 0, 0
		for i := range callers {
			for j, r := range records[i] {
				if held := d.Has(noon, r); held != acked[i][j] {
					t.Errorf("held %v, acknowledged %v", held, acked[i][j])
				}
				if data, err := d.Saved(fmt.Sprint(i, " ", j)); err != nil || (data != nil) != saved[i][j] {
					t.Errorf("there %v, saved %v, %v", data != nil, saved[i][j], err)
				}
				if acked[i][j] {
					in++
				}
				if saved[i][j] {
					states++
				}
			}
		}
		check(t, d.x)
		if r := d.Report(); r.Records != in || r.States != states {
			t.Errorf("%v, want %d records and %d states", r, in, states)
		}
	}
	look(d)
	lift()
	look(again(t, d, noon))
	t.Logf("%d records and %d states of %d each", in, states, callers*each)
	if in == 0 || in == callers*each {
		t.Error("the disk was never full, or always")
	}
}

func TestFileThatMayNotBeRead(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may read everything")
	}
	d, path := newDisk(t, Limits{})
	d.Close()
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, Options{Now: noon}); !errors.Is(err, os.ErrPermission) {
		t.Errorf("opened: %v", err)
	}
}
