// Package transfer moves files over streams that may break at any time, so that the rest
// can go over the next.
package transfer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"time"
)

const (
	// Stalled is how long a stream may take for a piece.
	Stalled = time.Minute
	piece   = 256 << 10 // bytes
	// tellEvery is how often progress is told, for people to read.
	tellEvery = 2 * time.Second
)

// An Ask is a message of the sender of a file: it offers the file, announces its bytes, or
// withdraws the offer.
type Ask struct {
	Offer
	Data      bool  `json:",omitempty"` // the bytes from Have on follow
	Have      int64 `json:",omitempty"`
	Withdrawn bool  `json:",omitempty"`
}

// An Answer is the answer of a receiver that does not refuse an Ask.
type Answer struct {
	Wait  bool   `json:",omitempty"` // it is not decided yet whether the file is wanted
	Have  int64  `json:",omitempty"` // so many bytes are here, from the first on
	Check []byte `json:",omitempty"` // if not empty, their SHA-256: they may be damaged
}

// ErrShort means that a file is not as long as was said, or was given up.
var ErrShort = errors.New("it ends too early")

// A Source is a file to send.
type Source struct {
	*os.File
	Offer
}

// Open opens an ordinary file and reads all of it, for its sum.
func Open(path string) (*Source, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not an ordinary file")
	}
	if err != nil {
		return nil, cause(err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, cause(err)
	}
	sum := sha256.New()
	n, err := io.Copy(sum, f)
	if err != nil {
		f.Close()
		return nil, cause(err)
	}
	return &Source{f, Offer{rand.Uint64(), filepath.Base(path), n, sum.Sum(nil)}}, nil
}

// From returns the offset from which a receiver needs the file: the length of its part, or 0 if
// the answer asks for a check and the part differs from the file.
func (s *Source) From(a Answer) int64 {
	if a.Have < 0 || a.Have > s.Size {
		return 0
	}
	if len(a.Check) > 0 {
		sum := sha256.New()
		if _, err := io.Copy(sum, io.NewSectionReader(s, 0, a.Have)); err != nil || !bytes.Equal(sum.Sum(nil), a.Check) {
			return 0
		}
	}
	return a.Have
}

// Send writes the bytes from have on to a stream, as [Copy] does.
func (s *Source) Send(ctx context.Context, to net.Conn, have int64, tell func(done int64, speed float64)) error {
	return Copy(ctx, to, to, io.NewSectionReader(s, have, s.Size), s.Size-have, tell)
}

// Copy copies n bytes to or from s, until ctx ends or nothing moves for [Stalled]. Every
// two seconds, and at the end, tell hears how many bytes that was, and how many in a second.
// It fails with [ErrShort] if src has fewer.
func Copy(ctx context.Context, s net.Conn, dst io.Writer, src io.Reader, n int64, tell func(done int64, speed float64)) error {
	defer context.AfterFunc(ctx, func() { s.SetDeadline(time.Now()) })()
	began := time.Now()
	told := began
	for done := int64(0); done < n; {
		s.SetDeadline(time.Now().Add(Stalled))
		if ctx.Err() != nil { // perhaps its deadline was set before this
			return context.Cause(ctx)
		}
		m, err := io.CopyN(dst, src, min(n-done, piece))
		if done += m; done == n || time.Since(told) > tellEvery {
			told = time.Now()
			tell(done, float64(done)/told.Sub(began).Seconds())
		}
		if errors.Is(err, io.EOF) {
			return ErrShort
		} else if err != nil {
			return err
		}
	}
	return nil
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
