package main

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/powerloss"
	"github.com/kadquic/kadquic/internal/store"
	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

var (
	powerLives  = flag.Int("power.lives", 3, "how often TestPowerLoss starts and kills the node whose writes it records")
	powerImages = flag.Int("power.images", 400, "how many disks TestPowerLoss makes of them")
	powerSeed   = flag.Uint64("power.seed", 0, "of the choice of writes that were lost; 0 is any")
)

// A power failure loses some or all of the writes that were not synced. All that a
// node writes while others store at it is recorded by strace, through several lives
// that end by a kill: for at that no write is lost, but many are not yet on the disk
// when the next life begins. Then, for many moments, the disk is made as the power
// failure could have left it there. The store must open on each of them as it is,
// with all that had been acknowledged by then.
//
// By then: strace notes when a system call begins, before it does anything, and a
// promise when its publisher has heard it, by the same clock. So a promise earlier
// than the first call missing from the image relies on calls in the image only.
//
//	go test ./cmd/kad -run TestPowerLoss -v -timeout 1h -power.lives 20 -power.images 20000
func TestPowerLoss(t *testing.T) {
	if testing.Short() {
		t.Skip("runs and kills processes")
	}
	seed := *powerSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	b := newBlackout(t, seed)
	for try := 1; ; try++ {
		gap := b.live(*powerLives)
		if gap == nil {
			break
		}
		if try == 3 {
			t.Fatalf("the record of what was written has gaps: %v; with -power.seed %d", gap, seed)
		}
		t.Logf("begun anew, as the record of what was written has gaps: %v; with -power.seed %d", gap, seed)
		seed = rand.Uint64()
		b = newBlackout(t, seed)
	}
	t.Logf("%d lives, %d puts of which %d were acknowledged, %d calls on files recorded, %d of them syncs",
		*powerLives, b.tried, b.kept, b.calls, b.syncs)
	t.Logf("%d disks, of up to %d unsynced pieces, opened: %d of them without a database, %d used and opened again",
		b.images, b.pieces, b.bare, b.reopened)
	t.Logf("%d records were looked for on them, %d of them acknowledged", b.judged, b.due)
}

// A blackout is what TestPowerLoss does.
type blackout struct {
	t testing.TB
	*promises
	kad, root, data string
	scratch         string // where the images go
	seed            uint64
	rand            *rand.Rand
	volume          *powerloss.Volume
	verified        map[wire.Print]bool

	calls, syncs, images, pieces, bare, reopened, judged, due int
}

func newBlackout(t testing.TB, seed uint64) *blackout {
	b := &blackout{t: t, promises: newPromises(t, 600), kad: command(t), root: filepath.Join(t.TempDir(), "disk"), seed: seed}
	b.data = filepath.Join(b.root, "D")
	b.rand = rand.New(rand.NewPCG(seed, 0))
	b.volume, b.verified = powerloss.New(b.root), make(map[wire.Print]bool)
	if err := os.Mkdir(b.root, 0o700); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("/dev/shm", "kad-power-") // in memory, where there is such a place
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	b.scratch = dir
	return b
}

// live lets the node live so many times. An error says that something was written that
// the record does not have: seen once in some two hundred lives, by one page, it seems
// that strace can miss what a thread still did while it was killed.
func (b *blackout) live(times int) (gap error) {
	for i := range times {
		events := b.record(i)
		b.replay(i, events)
		if b.t.Failed() {
			b.t.Fatalf("in life %d, with -power.seed %d", i, b.seed)
		}
		if err := b.volume.Compare(); err != nil {
			return fmt.Errorf("in life %d: %w", i, err)
		}
		b.volume.Ended()
	}
	return nil
}

// record runs the node, stores at it, kills it, and returns what it did.
func (b *blackout) record(number int) []powerloss.Event {
	strace, err := exec.LookPath("strace")
	if err != nil {
		b.t.Skip("strace, which records what a process writes, is not installed")
	}
	trace := filepath.Join(b.t.TempDir(), "trace")
	tracer := append([]string{strace}, powerloss.Args(trace)...)
	if number%2 == 1 { // killed as it syncs
		tracer = append(tracer, "-e", fmt.Sprintf("inject=fdatasync:signal=KILL:when=%d", 2+b.rand.IntN(8)))
	}
	d := launch(b.t, b.kad, b.data, tracer...)
	addr, ok := d.address()
	pid := tracee(trace)
	if !ok {
		text, _ := d.err.state()
		if pid == 0 {
			b.t.Skipf("strace cannot trace here: %s", text)
		}
		if number%2 == 0 {
			b.t.Fatalf("kad up ended before it began: %v\n%s", d.result, text)
		}
	}
	defer func() {
		if p, err := os.FindProcess(pid); err == nil {
			p.Kill() // gone already, unless the test fails
		}
	}()
	if ok {
		b.store(addr, d, func() {
			p, err := os.FindProcess(pid)
			if err == nil {
				err = p.Kill()
			}
			if err != nil {
				b.t.Log(err)
			}
		})
	}
	<-d.ended
	if err := d.complaint(); err != nil {
		b.t.Error(err)
	}
	f, err := os.Open(trace)
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	events, err := powerloss.Parse(f)
	if err != nil {
		b.t.Fatal(err)
	}
	return events
}

// tracee is the process that is traced, 0 if there is none yet.
func tracee(trace string) int {
	text, _ := os.ReadFile(trace)
	word, _, _ := bytes.Cut(text, []byte(" "))
	pid, _ := strconv.Atoi(string(word))
	return pid
}

// store puts records at the node for a while.
func (b *blackout) store(addr string, d *daemon, kill func()) {
	ctx, cancel := d.alive()
	defer cancel()
	timer := time.AfterFunc(300*time.Millisecond+time.Duration(b.rand.Int64N(int64(700*time.Millisecond))), kill)
	defer timer.Stop()
	if n := b.client(ctx, addr); n != nil {
		defer n.Kill()
		b.write(ctx, n)
	}
	<-d.ended
}

// replay feeds the volume with the events, and between them makes images.
func (b *blackout) replay(number int, events []powerloss.Event) {
	var syncs []int // where something is synced, and right before
	wrote, seam := false, -1
	for i, e := range events {
		wrote = wrote || e.Name == "pwrite64"
		if wrote && seam < 0 && e.Name == "fdatasync" {
			seam = i - 1
		}
		if e.Name == "fsync" || e.Name == "fdatasync" {
			if e.Begins && i > 0 {
				syncs = append(syncs, i-1)
			}
			if e.Ends {
				b.syncs++
				syncs = append(syncs, i)
			}
		}
	}
	if len(syncs) == 0 {
		return
	}
	b.calls += len(events)
	images := make([]int, len(events)) // after each event
	budget := *powerImages / *powerLives
	offset := b.rand.IntN(len(syncs))
	for i := range budget {
		if i%3 == 0 {
			images[b.rand.IntN(len(events))]++
			continue
		}
		// Evenly over all of them: with images enough none is left out.
		images[syncs[(offset+i*len(syncs)/budget)%len(syncs)]]++
	}
	for i, e := range events {
		if err := b.volume.Do(e); err != nil {
			b.t.Fatal(err)
		}
		before := time.Now()
		if i+1 < len(events) {
			before = events[i+1].At
		}
		var err error
		for range images[i] {
			if err == nil {
				err = b.image(before, 4096>>(3*(b.images%2)), b.fate)
			}
		}
		if i == seam && err == nil {
			err = b.seam(before)
		}
		if err != nil {
			b.t.Errorf("life %d, the power fails after call %d of %d, %s: %v", number, i, len(events), e.Name, err)
			return
		}
	}
}

// seam makes the disks of a life that has just written for the first time, and has
// not synced yet, so that something of the life before may be lost and all of this
// be there: the one moment at which a database is written by one process that has
// read what another did not sync.
func (b *blackout) seam(before time.Time) error {
	for lost := range min(b.volume.Unsynced(4096), 64) {
		err := b.image(before, 4096, func(n int) (string, func(int) bool) {
			return fmt.Sprintf("all but number %d", lost), func(i int) bool { return i != lost }
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// image makes a disk as it may be now and looks at it.
func (b *blackout) image(before time.Time, sector int64, fate func(n int) (name string, keep func(i int) bool)) error {
	b.images++
	n := b.volume.Unsynced(sector)
	b.pieces = max(b.pieces, n)
	name, keep := fate(n)
	m := b.volume.Image(sector, keep)
	dir := filepath.Join(b.scratch, "image")
	defer os.RemoveAll(dir)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if err := m.Write(dir); err != nil {
		return err
	}
	if err := b.look(dir, m, before); err != nil {
		return fmt.Errorf("of %d pieces of %d bytes the disk has %s: %w", n, sector, name, err)
	}
	return nil
}

// fate decides which of n pieces are on the disk.
func (b *blackout) fate(n int) (name string, keep func(i int) bool) {
	one := b.rand.IntN(max(n, 1))
	random := rand.New(rand.NewPCG(b.seed, uint64(b.images)))
	chance := func(p float64) func(int) bool {
		return func(int) bool { return random.Float64() < p }
	}
	switch b.rand.IntN(9) {
	case 0:
		return "none", func(int) bool { return false }
	case 1:
		return "all", func(int) bool { return true }
	case 2:
		return fmt.Sprintf("the first %d", one), func(i int) bool { return i < one }
	case 3:
		return fmt.Sprintf("the last %d", n-one), func(i int) bool { return i >= one }
	case 4:
		return fmt.Sprintf("all but number %d", one), func(i int) bool { return i != one }
	case 5:
		return fmt.Sprintf("number %d only", one), func(i int) bool { return i == one }
	case 6:
		return "few", chance(0.1)
	case 7:
		return "most", chance(0.9)
	}
	return "half", chance(0.5)
}

// look opens the store on an image. An error says what is wrong with it.
func (b *blackout) look(dir string, m powerloss.Image, before time.Time) error {
	data := filepath.Join(dir, "D")
	if m["D/node.db"] == nil {
		b.bare++
		for _, r := range b.everything() {
			if err := b.judge(r, nil, before); err != nil {
				return fmt.Errorf("there is no database among %q: %w", slices.Sorted(maps.Keys(m)), err)
			}
		}
		return nil
	}
	now := time.Now()
	d, err := store.Open(filepath.Join(data, "node.db"), store.Options{Self: routing.KeyOf([]byte("self")), Now: now})
	if err != nil {
		return err
	}
	defer func() { d.Close() }()
	if err := b.audit(d, now, before); err != nil {
		return err
	}
	if want, err := os.ReadFile(filepath.Join(b.data, "identity.pem")); err != nil || !bytes.Equal(want, m["D/identity.pem"]) {
		return fmt.Errorf("the identity is %q, want %q, %v", m["D/identity.pem"], want, err)
	}
	if b.images%8 != 0 {
		return nil
	}
	b.reopened++
	if err := use(d, now); err != nil {
		return err
	}
	if err := d.Close(); err != nil {
		return err
	}
	if d, err = store.Open(filepath.Join(data, "node.db"), store.Options{Self: routing.KeyOf([]byte("self")), Now: now}); err != nil {
		return fmt.Errorf("opened again: %w", err)
	}
	return b.audit(d, now, before)
}

// audit judges what a store holds.
func (b *blackout) audit(d *store.Disk, now, before time.Time) error {
	if r := d.Report(); r.Damaged+r.DamagedStates > 0 {
		return fmt.Errorf("damaged: %v: %s", r, strings.Join(r.Losses, "; "))
	}
	for _, r := range b.everything() {
		var f *found
		for _, s := range d.Get(now, r.kind, r.key, 2) {
			if print := s.Print(); !b.verified[print] { // its value is compared below
				if err := s.Verify(now); err != nil {
					return err
				}
				b.verified[print] = true
			}
			f = &found{s.Record.Publisher, s.Record.Seq, s.Record.Value, s.Record.Expiry}
		}
		if err := b.judge(r, f, before); err != nil {
			return err
		}
		b.judged++
		if r.due(before) {
			b.due++
		}
	}
	return nil
}

// due reports whether a version of r was acknowledged before that time.
func (r *promise) due(before time.Time) bool {
	return slices.ContainsFunc(r.versions, func(v version) bool { return !v.acked.IsZero() && v.acked.Before(before) })
}

// use puts some records, so that pages are freed and taken.
func use(d *store.Disk, now time.Time) error {
	key, err := quic.GenerateKey()
	if err != nil {
		return err
	}
	for i := range 5 {
		var batch []store.Item
		for k := range 20 {
			r, err := wire.Sign(wire.Record{
				Kind: wire.KindOpen, Key: routing.KeyOf([]byte{byte(i), byte(k)}), Seq: 1, Expiry: now.Add(time.Hour), Value: noise(500 * i),
			}, key)
			if err != nil {
				return err
			}
			batch = append(batch, store.Item{Record: r})
		}
		for _, err := range d.Put(now, batch) {
			if err != nil {
				return err
			}
		}
	}
	return nil
}
