package swarm

import (
	"errors"
	"sync"

	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

// maxQueued bounds the bytes that wait for a peer to read them. A peer that
// sends requests and reads no replies loses its connection here.
const maxQueued = 1 << 20

// ErrQueueFull ends the request stream of a peer that does not read it.
var ErrQueueFull = errors.New("peer does not read what is sent to it")

// A sendQueue sends the frames of one stream, in order. A sender that finds it idle
// hands its frame to QUIC at once, which takes it without blocking if flow control
// allows. Only when it does not, or when the frames fill more than a packet, does a
// goroutine start, write the queued frames, and end. So there is never more than one
// writer, no lock is held across a write, and a stream that flows costs no goroutine:
// waking a writer for every frame took a tenth of the CPU of a request.
//
// Goroutines may share a sendQueue.
type sendQueue struct {
	stream *quic.Stream

	mu      sync.Mutex
	buf     *sendBuffer // frames that are not being written yet; nil: none
	busy    bool        // a write is under way
	corked  bool        // more frames follow at once: see cork
	blocked bool        // the latest frame may not have fitted the peer's window
	err     error       // why nothing can be sent any more
}

// A sendBuffer holds encoded frames. All queues share the buffers: nearly all queues are
// empty, and a buffer that was just in use is in the processor's cache.
type sendBuffer struct {
	bytes []byte
	enc   *wire.Writer // into bytes
}

var sendBuffers = sync.Pool{New: func() any {
	b := new(sendBuffer)
	b.enc = wire.NewWriter(b)
	return b
}}

func (b *sendBuffer) Write(p []byte) (int, error) {
	b.bytes = append(b.bytes, p...)
	return len(p), nil
}

// free returns b to the pool, unless one long reply has made it too large to keep.
func (b *sendBuffer) free() {
	if cap(b.bytes) <= 16<<10 {
		b.bytes = b.bytes[:0]
		sendBuffers.Put(b)
	}
}

// errNotRead ends the queue of a peer that has sent STOP_SENDING.
var errNotRead = errors.New("peer has stopped reading the request stream")

func newSendQueue(s *quic.Stream) *sendQueue {
	q := &sendQueue{stream: s}
	s.AfterWriteEnds(func() { // also while the queue is empty
		q.mu.Lock()
		defer q.mu.Unlock()
		q.fail(errNotRead)
	})
	return q
}

// send sends f, or queues it behind what is being written. It does not block.
func (q *sendQueue) send(f wire.Frame) error {
	q.mu.Lock()
	if q.err != nil {
		q.mu.Unlock()
		return q.err
	}
	if q.buf == nil {
		q.buf = sendBuffers.Get().(*sendBuffer)
	}
	if err := q.buf.enc.WriteFrame(f); err != nil {
		q.mu.Unlock()
		return err
	}
	if q.busy {
		if len(q.buf.bytes) > maxQueued {
			q.fail(ErrQueueFull)
		}
		err := q.err
		q.mu.Unlock()
		return err
	}
	if q.corked && len(q.buf.bytes) < maxCorked {
		q.mu.Unlock()
		return nil
	}
	return q.flush()
}

// maxCorked bounds the bytes that wait for uncork.
const maxCorked = 16 << 10

// cork makes frames wait for uncork, so that the replies to requests that arrived
// together leave in one packet rather than many.
func (q *sendQueue) cork() {
	q.mu.Lock()
	q.corked = true
	q.mu.Unlock()
}

// uncork ends what cork began and sends the queued frames.
func (q *sendQueue) uncork() error {
	q.mu.Lock()
	q.corked = false
	if q.busy || q.err != nil {
		err := q.err
		q.mu.Unlock()
		return err
	}
	return q.flush()
}

// maxTry bounds the bytes of one TryWrite: QUIC has a buffer for as many. It would copy
// more bytes, and copy the rest again for each packet that it cuts off: eight replies
// took 6 kB each, a sixth of their CPU.
const maxTry = 1452

// flush sends the queued frames. The caller holds mu and no write is under way. flush
// releases mu.
func (q *sendQueue) flush() error {
	q.busy = true
	for q.buf != nil && q.err == nil {
		b := q.take()
		q.mu.Unlock()
		err := quic.ErrWouldBlock
		if len(b.bytes) <= maxTry {
			err = q.stream.TryWrite(b.bytes)
		}
		q.mu.Lock()
		if q.blocked = errors.Is(err, quic.ErrWouldBlock); q.blocked {
			q.mu.Unlock()
			go q.drain(b)
			return nil
		}
		q.put(b, err)
	}
	q.busy = false
	err := q.err
	q.mu.Unlock()
	return err
}

// drain writes b and the frames that are queued meanwhile. It ends with the stream at the
// latest.
func (q *sendQueue) drain(b *sendBuffer) {
	for {
		_, err := q.stream.Write(b.bytes)
		q.mu.Lock()
		q.put(b, err)
		if q.buf == nil || q.err != nil {
			q.busy = false
			q.mu.Unlock()
			return
		}
		b = q.take()
		q.mu.Unlock()
	}
}

// take returns the queued frames. The caller holds mu.
func (q *sendQueue) take() *sendBuffer {
	b := q.buf
	q.buf = nil
	return b
}

// put returns a buffer to the pool, and notes the error of its write. The caller holds mu.
func (q *sendQueue) put(b *sendBuffer, err error) {
	if err != nil {
		q.fail(err)
	}
	b.free()
}

// fail notes why nothing can be sent any more. It ends the reading of the stream as well:
// a peer that gets neither requests nor replies may send nothing either, and later
// requests would find its connection and fail. The caller holds mu.
func (q *sendQueue) fail(err error) {
	if q.err == nil {
		q.err = err
		q.stream.CancelRead(wire.ResetCancelled)
	}
}

// isBlocked reports whether the latest frame may have met a closed window of the peer, for
// the connection or the stream. A write that has succeeded since proves nothing: QUIC
// accepts the last packet and keeps it.
func (q *sendQueue) isBlocked() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.blocked
}

// failure returns why nothing can be sent any more, nil if something can.
func (q *sendQueue) failure() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.err
}
