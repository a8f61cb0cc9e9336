package wire

import (
	"fmt"
	"io"

	"github.com/libp2p/go-msgio"
)

// go-msgio writes here but does not read (see Reader). Its writer sends length and
// frame in one Write from a pooled buffer, as we want it. Its reader allocates the
// announced length before a byte of it has arrived, 64 KiB for each stream of a
// hostile peer. Reader's buffer grows with the bytes received (TestReaderBuffer), and
// one Read may bring many frames (TestReaderReadsSeldom).

// A Writer writes frames to a stream, each behind its length (a varint, as
// go-msgio writes it) and in one Write. It is for one goroutine. A caller with many
// frames appends them with AppendPrefixed and writes them at once.
type Writer struct {
	w   msgio.Writer
	buf []byte // kept between frames
}

// NewWriter returns a Writer to w.
func NewWriter(w io.Writer) *Writer {
	return &Writer{w: msgio.NewVarintWriter(w)}
}

// WriteFrame writes one frame. The error is the stream's, or wraps ErrTooLarge
// for a frame of more than MaxFrame bytes, of which nothing is written.
func (w *Writer) WriteFrame(f Frame) error {
	b := AppendFrame(w.buf[:0], f)
	if cap(b) <= 4*readBuffer {
		w.buf = b
	}
	if len(b) > MaxFrame {
		return fmt.Errorf("%w: %d bytes, over %d", ErrTooLarge, len(b), MaxFrame)
	}
	return w.w.WriteMsg(b)
}
