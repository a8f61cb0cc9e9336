package transfer

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"github.com/kadquic/kadquic/wire"
)

var (
	// ErrName means that a file name is not a plain one: it has a directory in it, or a
	// dot in front, or a terminal does not show it as it is.
	ErrName = errors.New("such a file name is refused")
	// ErrSum means that the file that came is not the one that was offered.
	ErrSum = errors.New("it is not what was offered")
	// ErrPlace means that bytes do not join on to those that are here.
	ErrPlace = errors.New("transfer: bytes out of place")

	errSize = errors.New("such a file size is refused")
)

// abandoned is the age at which [OpenDir] removes the part of a file. It lets a sender return
// after a weekend.
const abandoned = 7 * 24 * time.Hour

// partName matches the names of parts: a hash that identifies the whole file.
var partName = regexp.MustCompile(`^\.[A-Z2-7]{26}\.part$`)

// OpenDir opens a directory for received files, and makes it if there is none. It removes parts
// of files that have not grown for a week.
func OpenDir(path string) (*os.Root, error) {
	path, err := filepath.Abs(path) // for [Part.Path]
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, err
	}
	dir, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	entries, err := fs.ReadDir(dir.FS(), ".")
	if err != nil {
		dir.Close()
		return nil, err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && info.Mode().IsRegular() && partName.MatchString(e.Name()) && time.Since(info.ModTime()) > abandoned {
			dir.Remove(e.Name())
		}
	}
	return dir, nil
}

// A Part is as much of an offered file as has come. It is stored under a hidden name
// until it is whole. Goroutines may share it.
type Part struct {
	dir   *os.Root
	offer Offer
	temp  string
	ready chan struct{} // closed when the bytes that an earlier program stored are read

	mu        sync.Mutex
	file      *os.File // nil when the file is whole, or given up
	sum       hash.Hash
	have      int64
	unchecked bool  // an earlier program stored the bytes here, and the sender has not continued it
	announced bool  // by Announce
	err       error // why it was given up
}

// checkOffer refuses names and sizes that no honest sender offers.
func checkOffer(o Offer) error {
	switch {
	case o.Name == "" || o.Name[0] == '.' || filepath.Base(o.Name) != o.Name || wire.Printable(o.Name) != o.Name:
		return ErrName
	case o.Size < 0:
		return errSize
	}
	return nil
}

// Create begins to store an offered file in dir, or goes on where a program that was
// killed has stopped: from names the two ends, and only a part with the same ends,
// name, size and sum is continued. It fails with fs.ErrExist if dir has a file of that
// name. No error tells where dir is, because errors are told to the sender.
func Create(dir *os.Root, from string, o Offer) (*Part, error) {
	if err := checkOffer(o); err != nil {
		return nil, err
	}
	if _, err := dir.Lstat(o.Name); !errors.Is(err, fs.ErrNotExist) {
		return nil, cmp.Or(cause(err), fs.ErrExist)
	}
	id := sha256.Sum256(fmt.Appendf(nil, "%q %q %d %x", from, o.Name, o.Size, o.Sum))
	f := &Part{dir: dir, offer: o, sum: sha256.New(), ready: make(chan struct{})}
	f.temp = "." + base32.StdEncoding.EncodeToString(id[:])[:26] + ".part"
	var err error
	if f.file, err = dir.OpenFile(f.temp, os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return nil, cause(err)
	}
	info, err := f.file.Stat()
	switch {
	case err != nil || !info.Mode().IsRegular():
		f.file.Close()
		return nil, cmp.Or(cause(err), fs.ErrExist)
	case info.Size() > 0:
		go f.load(f.file, info.Size())
		return f, nil
	case o.Size == 0:
		f.end(f.place())
	}
	close(f.ready)
	return f, f.err
}

// load takes in the n bytes that an earlier program has stored.
func (f *Part) load(file *os.File, n int64) {
	defer close(f.ready)
	sum := sha256.New()
	_, err := io.Copy(sum, io.NewSectionReader(file, 0, n))
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.file == nil: // given up meanwhile
	case err != nil || n > f.offer.Size || n == f.offer.Size && !bytes.Equal(sum.Sum(nil), f.offer.Sum):
		f.reset()
	default:
		f.sum, f.have, f.unchecked = sum, n, true
		if n == f.offer.Size {
			f.end(f.place())
		}
	}
}

// reset begins again with nothing.
func (f *Part) reset() {
	f.sum.Reset()
	f.have, f.unchecked = 0, false
	if err := f.file.Truncate(0); err != nil {
		f.end(cause(err))
	}
}

// ErrWithdrawn means that the sender has given up its offer.
var ErrWithdrawn = errors.New("they gave it up")

// maxLoad bounds how long Receive waits until the bytes of an earlier program are read.
const maxLoad = 4 * time.Second

// Receive handles an Ask, with the bytes that follow it on s through in, as [Copy] does,
// and returns the answer.
func (f *Part) Receive(ctx context.Context, s net.Conn, in io.Reader, ask Ask, tell func(done int64, speed float64)) (Answer, error) {
	select {
	case <-f.ready:
	case <-time.After(maxLoad):
		return Answer{Wait: true}, nil
	}
	if ask.Data {
		err := Copy(ctx, s, io.NewOffsetWriter(f, ask.Have), in, f.offer.Size-ask.Have, tell)
		if errors.Is(err, ErrShort) {
			f.Cancel(ErrWithdrawn)
		}
	}
	return f.Have()
}

// Have returns how many bytes are here, from the first on, and why there will be no
// more, unless these are all. The sender has to check bytes that an earlier program has
// stored, as [Source.From] does: they may have been damaged when that program or its
// machine died.
func (f *Part) Have() (Answer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := Answer{Have: f.have}
	if f.unchecked {
		a.Check = f.sum.Sum(nil)
	}
	return a, f.err
}

// WriteAt adds the bytes from the at-th on. It fails with [ErrPlace] unless they join on
// to those that are here: others come over an older connection, or too late. Bytes that
// an earlier program has stored are replaced if the first write is at 0. With the last
// byte the file gets its name, or is given up with [ErrSum]; it is given up as well when
// it cannot be written, for example because the disk is full.
func (f *Part) WriteAt(b []byte, at int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file != nil && f.unchecked && at == 0 && len(b) > 0 {
		f.reset()
	}
	if f.file == nil || at != f.have || int64(len(b)) > f.offer.Size-at {
		return 0, cmp.Or(f.err, ErrPlace)
	}
	n, err := f.file.WriteAt(b, at)
	f.sum.Write(b[:n])
	f.unchecked = f.unchecked && n == 0
	if f.have += int64(n); err != nil {
		f.end(cause(err))
	} else if f.have == f.offer.Size {
		f.end(f.place())
	}
	return n, f.err
}

// incomplete reports whether more bytes are awaited.
func (f *Part) incomplete() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.file != nil
}

// Announce returns where the file is, and true the first time that it is whole.
func (f *Part) Announce() (path string, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file != nil || f.err != nil || f.announced {
		return "", false
	}
	f.announced = true
	return filepath.Join(f.dir.Name(), f.offer.Name), true
}

// Cancel gives the file up and removes its bytes, unless it is whole or was
// given up before; then it returns false.
func (f *Part) Cancel(why error) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.end(why)
}

// place gives the file its name. It first creates an empty file, so that the name is
// not another's: rename replaces, and not every file system has links.
func (f *Part) place() error {
	if !bytes.Equal(f.sum.Sum(nil), f.offer.Sum) {
		return ErrSum
	}
	own, err := f.dir.OpenFile(f.offer.Name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return cause(err)
	}
	if err = cmp.Or(own.Close(), f.file.Close(), f.dir.Rename(f.temp, f.offer.Name)); err != nil {
		f.dir.Remove(f.offer.Name)
	}
	return cause(err)
}

func (f *Part) end(err error) bool {
	if f.file == nil {
		return false
	}
	f.file.Close()
	f.dir.Remove(f.temp) // unless it has its name
	f.file, f.err, f.unchecked = nil, err, false
	return true
}
