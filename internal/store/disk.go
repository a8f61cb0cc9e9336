package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/kadquic/kadquic/routing"
)

// Disk is a [Store] in a file, beside which it keeps small named states; see the
// package comment. A Put is answered when it would outlive a crash. Only the index
// is in memory. Goroutines may share it. Make one with [Open].
type Disk struct {
	ledger
	path string

	// writing is held through a whole change: index, transaction, and if that fails
	// the undoing. Before ledger.mu.
	writing  sync.Mutex
	scrap    [][]byte // keys of damaged records, to be deleted. Guarded by writing
	dormant  []dormant
	stamped  int64 // what the file's stamp says
	unsynced int   // a transaction whose head may not be on the disk; 0: none
	unnamed  bool  // the file's name may not be
	broken   error // bbolt panicked while it wrote: nothing is written any more

	queued  sync.Mutex // guards waiting; taken after writing, and let go at once
	waiting []*waiter

	// db is nil until the index is loaded, and closed by Close.
	db     *bolt.DB
	file   *os.File // of db
	closed atomic.Bool

	told   sync.Mutex // guards report; taken last
	report Report
}

var _ Store = (*Disk)(nil)

// Options of [Open]. Only Now is required.
type Options struct {
	Self   routing.Key // the node's
	Limits Limits
	Now    time.Time // when the process begins, with the monotonic reading
}

// lockWait bounds how long Open waits for another process to unlock the file.
const lockWait = time.Second

// allocSize is the step in bytes by which the file grows.
const allocSize = 1 << 20

// Open opens the store at path, and makes it, readable by its owner only, if there
// is none. If the error wraps ErrLocked, ErrDamaged (a *DamagedError) or ErrForeign, the
// file is unchanged. Single damaged records are no error: they are
// dropped, and counted in the Report. On a file system that is mounted read-only
// the store answers, and refuses every Put.
func Open(path string, o Options) (*Disk, error) {
	d := &Disk{path: path, ledger: ledger{x: newIndex(o.Self, o.Limits)}}
	d.x.base = o.Now
	if o.Now.IsZero() {
		return nil, errors.New("open store: Options.Now is the zero time")
	}
	if err := d.open(o.Now); err != nil {
		return nil, fmt.Errorf("open store: %w", located(err, path))
	}
	return d, nil
}

// located adds the path to an error that has none.
func located(err error, path string) error {
	var damaged *DamagedError
	switch {
	case errors.As(err, &damaged):
		damaged.Path = path
	case errors.Is(err, ErrForeign):
		return fmt.Errorf("%w: %q is left untouched; move it away or choose another place", err, path)
	case errors.Is(err, ErrLocked):
		return fmt.Errorf("%w: %q; stop that one or choose another place", err, path)
	}
	return err
}

func (d *Disk) open(now time.Time) error {
	f, readOnly, err := d.openFile()
	if err != nil {
		return err
	}
	opened := false
	defer func() {
		if !opened {
			f.Close()
		}
	}()
	if err := lockFile(f, !readOnly); err != nil {
		return err
	}
	v, err := readInventory(f)
	if err != nil {
		return err
	}
	o := &bolt.Options{
		ReadOnly:        readOnly,
		Timeout:         lockWait,
		FreelistType:    bolt.FreelistMapType,
		NoSync:          noSync,
		NoGrowSync:      noSync,
		InitialMmapSize: mapSize(d.x.limits),
		OpenFile: func(string, int, os.FileMode) (*os.File, error) {
			return f, passLock(f) // already locked, without a gap
		},
	}
	err = guard(func() error {
		d.db, err = bolt.Open(d.path, 0o600, o)
		if err != nil {
			return err
		}
		d.db.AllocSize = allocSize
		return d.db.View(func(tx *bolt.Tx) error {
			if uint64(tx.ID()) != v.tx {
				return ErrLocked // where the lock had to be passed on
			}
			return nil
		})
	})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return ErrLocked
	case errors.As(err, new(*panicError)):
		return &DamagedError{Page: -1, Reason: err.Error()}
	case err != nil:
		return err
	}
	opened = true
	d.file = f
	d.x.load = d.load
	d.fill(now, v)
	d.x.log = new(journal)
	switch {
	case readOnly:
		d.broken = errors.New("the file system is mounted read-only")
		d.report.ReadOnly = d.broken
	case !noSync:
		// The data just read may be only in the kernel's memory, if the process that
		// wrote it was killed. No change and no answer of Put may rely on it.
		d.unsynced, d.unnamed = int(v.tx), true
		d.report.ReadOnly = d.settle() // else the first Put tries again
	}
	return nil
}

// openFile opens the file, makes it if there is none, and falls back to reading
// where the file system is mounted read-only.
func (d *Disk) openFile() (f *os.File, readOnly bool, err error) {
	f, err = os.OpenFile(d.path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		if err := create(d.path); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, false, err
		}
		f, err = os.OpenFile(d.path, os.O_RDWR, 0)
	}
	if errors.Is(err, syscall.EROFS) {
		f, err = os.Open(d.path)
		return f, true, err
	}
	return f, false, err
}

// lockFile locks f, or is ErrLocked.
func lockFile(f *os.File, exclusive bool) error {
	for wait := time.Duration(0); ; wait += 20 * time.Millisecond {
		ok, err := tryLock(f, exclusive)
		switch {
		case err != nil:
			return fmt.Errorf("lock %q: %w", f.Name(), err)
		case ok:
			return nil
		case wait >= lockWait:
			return ErrLocked
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// mapSize returns how much address space to reserve for the file: enough that bbolt need not
// map it again, for which it must wait for all readers, such as a slow backup. On Windows the
// file would become as large.
func mapSize(l Limits) int {
	if runtime.GOOS == "windows" || strconv.IntSize < 64 {
		return 0
	}
	return int(max(8*l.Bytes, 256<<20))
}

// Close implements [Store]. The error is of the last sync.
func (d *Disk) Close() error {
	d.writing.Lock()
	defer d.writing.Unlock()
	if d.closed.Swap(true) {
		return nil
	}
	if errors.As(d.broken, new(*panicError)) {
		return d.file.Close() // bbolt may hold a lock that its Close would wait for
	}
	return errors.Join(d.settle(), guard(d.db.Close))
}

// Report returns the contents and the losses of the store.
func (d *Disk) Report() Report {
	d.mu.RLock()
	live, all := d.x.live, len(d.x.order)
	d.mu.RUnlock()
	d.told.Lock()
	defer d.told.Unlock()
	r := d.report
	r.Losses = append([]string(nil), r.Losses...)
	r.Records, r.Remembered = live, all-live
	if info, err := d.file.Stat(); err == nil {
		r.Bytes = info.Size()
	}
	return r
}

// Put implements [Store].
func (d *Disk) Put(now time.Time, batch []Item) []error {
	w := &waiter{now: now, batch: batch, errs: make([]error, len(batch))}
	if len(batch) > 0 {
		d.enter(w)
	}
	return w.errs
}

// WriteTo writes a copy of the whole database as it is now, which Open can open.
// Others may go on reading and writing.
func (d *Disk) WriteTo(w io.Writer) (n int64, err error) {
	err = d.view(func(tx *bolt.Tx) error {
		n, err = tx.WriteTo(w)
		return err
	})
	if err != nil {
		return n, fmt.Errorf("copy store %q: %w", d.path, err)
	}
	return n, nil
}
