package transfer

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/kadquic/kadquic/wire"
)

var (
	// ErrName is of a name that is not a plain one: with a directory in it, with a dot
	// in front, or such that a terminal does not show it as it is.
	ErrName = errors.New("such a file name is refused")
	// ErrSum means that what has come is not what was announced.
	ErrSum = errors.New("it is not what was offered")
	// ErrPlace is of a write that does not join on to what is here.
	ErrPlace = errors.New("transfer: bytes out of place")
)

// A Part is what is here of a file that comes: under another name until it is whole,
// and what was announced. Goroutines may share it.
type Part struct {
	dir        *os.Root
	name, temp string
	size       int64
	want       []byte // SHA-256

	mu   sync.Mutex
	file *os.File // nil when the file is whole, or given up
	sum  hash.Hash
	have int64
	err  error // why it was given up
}

// Create begins a file of size bytes, whose SHA-256 is sum. It fails if dir has one of
// that name, and then so does fs.ErrExist. No error tells where dir is: they may be
// told to the other end.
func Create(dir *os.Root, name string, size int64, sum []byte) (*Part, error) {
	if name == "" || name[0] == '.' || filepath.Base(name) != name || wire.Printable(name) != name {
		return nil, ErrName
	} else if _, err := dir.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		return nil, cmp.Or(cause(err), fs.ErrExist)
	}
	f := &Part{dir: dir, name: name, temp: "." + rand.Text() + ".part", size: size, want: sum, sum: sha256.New()}
	var err error
	if f.file, err = dir.OpenFile(f.temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600); err != nil {
		return nil, cause(err)
	}
	if size <= 0 {
		f.end(f.place())
	}
	return f, f.err
}

// Have returns how many bytes are here, from the first on, and why there will be no
// more, if it is not that these are all.
func (f *Part) Have() (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.have, f.err
}

// WriteAt adds the bytes from the at-th on. It fails with [ErrPlace] unless they join on
// to those that are here: others come over an older connection, or too late. With the
// last the file gets its name, or is given up for [ErrSum]; so it is when it cannot be
// written, for the disk is full.
func (f *Part) WriteAt(b []byte, at int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file == nil || at != f.have || int64(len(b)) > f.size-at {
		return 0, cmp.Or(f.err, ErrPlace)
	}
	n, err := f.file.Write(b)
	f.sum.Write(b[:n])
	if f.have += int64(n); err != nil {
		f.end(cause(err))
	} else if f.have == f.size {
		f.end(f.place())
	}
	return n, f.err
}

// Cancel gives the file up, and removes what is here of it, unless that is all.
func (f *Part) Cancel(why error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.end(why)
}

// place gives the file its name. An empty one is made first, so that the name is nobody
// else's: to rename replaces what there is, and not every file system has links.
func (f *Part) place() error {
	if !bytes.Equal(f.sum.Sum(nil), f.want) {
		return ErrSum
	}
	own, err := f.dir.OpenFile(f.name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return cause(err)
	}
	if err = cmp.Or(own.Close(), f.file.Close(), f.dir.Rename(f.temp, f.name)); err != nil {
		f.dir.Remove(f.name)
	}
	return cause(err)
}

func (f *Part) end(err error) {
	if f.file != nil {
		f.file.Close()
		f.dir.Remove(f.temp) // unless it has its name
		f.file, f.err = nil, err
	}
}

// cause is err without the path that os puts around it.
func cause(err error) error {
	if at := new(fs.PathError); errors.As(err, &at) {
		return at.Err
	} else if at := new(os.LinkError); errors.As(err, &at) {
		return at.Err
	}
	return err
}
