package wire

import (
	"errors"
	"io"
)

// A Frame is one message and the id that pairs a request with its answer. Each
// side numbers its own requests; an answer repeats the request's id; 0 is what
// expects no answer.
type Frame struct {
	ID   uint64
	Body Message
}

// ErrMalformed is returned for bytes that are not a frame at all: the peer that
// sent them does not speak our protocol.
var ErrMalformed = errors.New("malformed frame")

// ErrTooLarge is returned for a frame longer than the limit.
var ErrTooLarge = errors.New("frame too large")

// AppendFrame appends the protobuf form of f, without length prefix.
func AppendFrame(dst []byte, f Frame) []byte { return dst }

// AppendPrefixed appends f behind its length, as it travels.
func AppendPrefixed(dst []byte, f Frame) []byte { return dst }

// ParseFrame reads one frame.
func ParseFrame(b []byte) (Frame, error) { return Frame{}, ErrMalformed }

// A Writer writes frames.
type Writer struct{ w io.Writer }

// NewWriter returns a Writer.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// WriteFrame writes f behind its length, in one Write.
func (w *Writer) WriteFrame(f Frame) error { return nil }

// A Reader reads frames.
type Reader struct{ r io.Reader }

// NewReader returns a Reader of frames of at most max bytes.
func NewReader(r io.Reader, max int) *Reader { return &Reader{r: r} }

// ReadFrame reads and parses the next frame.
func (r *Reader) ReadFrame() (Frame, error) { return Frame{}, io.EOF }

// ReadMessage returns the bytes of the next frame, valid until the next call.
func (r *Reader) ReadMessage() ([]byte, error) { return nil, io.EOF }
