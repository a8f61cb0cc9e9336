package node

import (
	"errors"
	"sync"

	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

// maxOutbox bounds the bytes that wait for a peer to read them. A peer that
// sends requests and reads no replies loses its connection here.
const maxOutbox = 1 << 20

var errOutboxFull = errors.New("peer does not read what is sent to it")

// An outbox sends the frames of one stream, in order. Whoever finds it idle
// hands its frame to QUIC at once, which takes it without blocking if flow
// control allows; only when it does not, or when there is more than a packet
// holds, does a goroutine start, write what has gathered, and end. So there is
// never more than one writer, no lock is held across a write, and a stream that
// flows costs no goroutine: a writer woken for every frame was a tenth of the
// CPU of a request.
//
// An outbox may be used by any number of goroutines.
type outbox struct {
	stream *quic.Stream

	mu   sync.Mutex
	buf  *outBuffer // frames that nobody has begun to write; nil: none
	busy bool       // somebody writes
	held bool       // more will come in a moment: see hold
	full bool       // the last that was sent may not have fitted the peer's window
	err  error      // why nothing can be sent any more
}

// An outBuffer is frames to be written. All outboxes share them: nearly all have
// nothing to send, and a buffer that was just in use is in the processor's cache.
type outBuffer struct {
	bytes []byte
	enc   *wire.Writer // into bytes
}

var outBuffers = sync.Pool{New: func() any {
	b := new(outBuffer)
	b.enc = wire.NewWriter(b)
	return b
}}

func (b *outBuffer) Write(p []byte) (int, error) {
	b.bytes = append(b.bytes, p...)
	return len(p), nil
}

// done gives b back, unless one long reply has made it too large to keep.
func (b *outBuffer) done() {
	if cap(b.bytes) <= 16<<10 {
		b.bytes = b.bytes[:0]
		outBuffers.Put(b)
	}
}

// errNotRead is why nothing can be sent to a peer that has sent STOP_SENDING.
var errNotRead = errors.New("peer has stopped reading the request stream")

func newOutbox(s *quic.Stream) *outbox {
	o := &outbox{stream: s}
	s.AfterWriteEnds(func() { // also while there is nothing to send
		o.mu.Lock()
		defer o.mu.Unlock()
		o.fail(errNotRead)
	})
	return o
}

// send sends f, or queues it behind what is being written. It does not block.
func (o *outbox) send(f wire.Frame) error {
	o.mu.Lock()
	if o.err != nil {
		o.mu.Unlock()
		return o.err
	}
	if o.buf == nil {
		o.buf = outBuffers.Get().(*outBuffer)
	}
	if err := o.buf.enc.WriteFrame(f); err != nil {
		o.mu.Unlock()
		return err
	}
	if o.busy {
		if len(o.buf.bytes) > maxOutbox {
			o.fail(errOutboxFull)
		}
		err := o.err
		o.mu.Unlock()
		return err
	}
	if o.held && len(o.buf.bytes) < maxHeld {
		o.mu.Unlock()
		return nil
	}
	return o.flush()
}

// maxHeld is how many bytes wait for more.
const maxHeld = 16 << 10

// hold makes frames wait for release, so that requests that arrived together are
// answered together: in one packet rather than many.
func (o *outbox) hold() {
	o.mu.Lock()
	o.held = true
	o.mu.Unlock()
}

// release ends a hold and sends what has gathered.
func (o *outbox) release() error {
	o.mu.Lock()
	o.held = false
	if o.busy || o.err != nil {
		err := o.err
		o.mu.Unlock()
		return err
	}
	return o.flush()
}

// maxTry is how many bytes are tried to be written at once: what QUIC has a buffer
// for. Of more it would make a copy, and another of the rest for each packet that
// it cuts off: eight replies took 6 kB each, a sixth of their CPU.
const maxTry = 1452

// flush sends what has gathered. The caller holds mu, and nobody is writing; it
// returns with mu released.
func (o *outbox) flush() error {
	o.busy = true
	for o.buf != nil && o.err == nil {
		b := o.take()
		o.mu.Unlock()
		err := quic.ErrWouldBlock
		if len(b.bytes) <= maxTry {
			err = o.stream.TryWrite(b.bytes)
		}
		o.mu.Lock()
		if o.full = errors.Is(err, quic.ErrWouldBlock); o.full {
			o.mu.Unlock()
			go o.drain(b)
			return nil
		}
		o.put(b, err)
	}
	o.busy = false
	err := o.err
	o.mu.Unlock()
	return err
}

// drain writes b and what gathers meanwhile, however long that takes. It ends
// with the stream at the latest.
func (o *outbox) drain(b *outBuffer) {
	for {
		_, err := o.stream.Write(b.bytes)
		o.mu.Lock()
		o.put(b, err)
		if o.buf == nil || o.err != nil {
			o.busy = false
			o.mu.Unlock()
			return
		}
		b = o.take()
		o.mu.Unlock()
	}
}

// take returns what is to be written. The caller holds mu.
func (o *outbox) take() *outBuffer {
	b := o.buf
	o.buf = nil
	return b
}

// put gives back a buffer that take returned. The caller holds mu.
func (o *outbox) put(b *outBuffer, err error) {
	if err != nil {
		o.fail(err)
	}
	b.done()
}

// fail notes why nothing can be sent any more. It ends the reading of the stream
// as well: a peer who is not answered, and not asked, may have nothing to say,
// and its link would stay for others to fail on. The caller holds mu.
func (o *outbox) fail(err error) {
	if o.err == nil {
		o.err = err
		o.stream.CancelRead(wire.ResetCancelled)
	}
}

// blocked reports whether the peer's window for the connection, or the stream, may
// have been used up when something was sent last. That it has been written since
// says nothing: QUIC takes the last packet of it and keeps it.
func (o *outbox) blocked() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.full
}

// failure returns why nothing can be sent any more, nil if something can.
func (o *outbox) failure() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}
