package wire

import (
	"fmt"
	"io"
	"sync"

	"google.golang.org/protobuf/encoding/protowire"
)

// A Reader reads frames, each behind its length, from a stream. It is for one
// goroutine.
//
// It takes what the stream has, so that one Read may bring many frames, and it
// believes no length: its buffer grows as the bytes arrive, so a peer that
// announces 64 KiB and sends nothing costs nothing. (go-msgio's reader
// allocates the announced length at once.) While it waits for a stream that can
// Peek it has no buffer at all: a node has hundreds of streams, nearly all of
// them silent.
type Reader struct {
	r    io.Reader
	max  int
	buf  []byte // nil until the first read
	from int    // buf[from:to] is read and not yet given out
	to   int
	err  error // of the stream; given out once the frames before it are
	peek [1]byte
}

// readBuffer is the size of a buffer at first: the usual reply has 1.2 kB.
const readBuffer = 4 << 10

type readRoom [readBuffer]byte

var readBuffers = sync.Pool{New: func() any { return new(readRoom) }}

// A peeker is a stream that can be waited for: Peek returns once len(b) bytes
// are there, and leaves them there. quic.Stream is one.
type peeker interface {
	Peek(b []byte) (int, error)
}

// NewReader returns a Reader that refuses frames of more than max bytes;
// MaxFrame if max is 0.
func NewReader(r io.Reader, max int) *Reader {
	if max <= 0 {
		max = MaxFrame
	}
	return &Reader{r: r, max: max}
}

// ReadFrame reads and validates the next frame. It returns the errors of
// ReadMessage and ParseFrame; after an *InvalidError reading may continue.
func (r *Reader) ReadFrame() (Frame, error) {
	b, err := r.ReadMessage()
	if err != nil {
		return Frame{}, err
	}
	return ParseFrame(b)
}

// ReadMessage returns the bytes of the next frame, without the length; they are
// valid until the next call. At the end of the stream it returns io.EOF, within
// a frame io.ErrUnexpectedEOF. The error for a length of more bytes than needed
// wraps ErrMalformed, for one over the limit ErrTooLarge; the stream cannot be
// read on after any of them.
func (r *Reader) ReadMessage() ([]byte, error) {
	for {
		b := r.buf[r.from:r.to]
		size, n := protowire.ConsumeVarint(b[:min(len(b), maxPrefix)])
		switch {
		case n > 0 && n != protowire.SizeVarint(size), n < 0 && len(b) >= maxPrefix:
			return nil, fmt.Errorf("%w: bad length", ErrMalformed)
		case n > 0 && size > uint64(r.max):
			return nil, fmt.Errorf("%w: %d bytes, over %d", ErrTooLarge, size, r.max)
		case n > 0 && len(b)-n >= int(size):
			r.from += n + int(size)
			return b[n : n+int(size)], nil
		case n > 0:
			n += int(size)
		default:
			n = maxPrefix
		}
		if err := r.fill(n); err != nil {
			if err == io.EOF && len(b) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
}

// await gives the buffer back and waits until there is something to read, if
// the stream can tell. The buffer is empty.
func (r *Reader) await() error {
	p, ok := r.r.(peeker)
	if !ok {
		return nil
	}
	if len(r.buf) == readBuffer {
		readBuffers.Put((*readRoom)(r.buf))
	}
	r.buf, r.from, r.to = nil, 0, 0
	if n, err := p.Peek(r.peek[:]); n == 0 {
		return err
	}
	return nil
}

// More reports whether another whole frame has been read already, so that the
// next call of ReadFrame will not wait.
func (r *Reader) More() bool {
	b := r.buf[r.from:r.to]
	size, n := protowire.ConsumeVarint(b[:min(len(b), maxPrefix)])
	return n > 0 && size <= uint64(len(b)-n)
}

// maxPrefix is how many bytes a length may have: four reach to 256 MiB.
const maxPrefix = 4

// fill reads more of a frame that needs n bytes in all, at least one.
func (r *Reader) fill(n int) error {
	if r.err != nil {
		return r.err
	}
	have := r.buf[r.from:r.to]
	if len(have) == 0 {
		if err := r.await(); err != nil {
			return err
		}
	}
	switch {
	case r.buf == nil, len(have) == 0 && len(r.buf) > 4*readBuffer:
		r.buf = readBuffers.Get().(*readRoom)[:]
		r.from, r.to = 0, 0
	case len(have) == len(r.buf): // all of one frame: n is more
		r.buf = append(make([]byte, 0, 2*len(r.buf)), have...)
		r.buf = r.buf[:cap(r.buf)]
		r.from, r.to = 0, len(have)
	case r.from > 0 && (len(have) == 0 || r.from+n > len(r.buf)):
		r.from, r.to = 0, copy(r.buf, have)
	}
	for range 100 {
		got, err := r.r.Read(r.buf[r.to:])
		r.to += got
		r.err = err
		if got > 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
	r.err = io.ErrNoProgress
	return r.err
}
