package quic

import (
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxPacket  = 1452 // as much as quic-go reads
	queuedSize = 4096 // packets
)

// inner is the socket of the virtual connections: it reads packets from its queue
// and writes packets to the path of their route.
type inner struct {
	p       *paths
	local   net.Addr
	queue   chan *queued
	waiting atomic.Int32 // packets in the queue that belong to no route

	once sync.Once
	done chan struct{}
}

// Only the queue refers to a queued packet. The queue holds pointers, as
// most transports never have a virtual connection: it takes 32 kB of each.
type queued struct {
	from  *net.UDPAddr
	count *atomic.Int32
	ecn   byte
	n     int
	b     [maxPacket]byte
}

var packets = sync.Pool{New: func() any { return new(queued) }}

func newInner(p *paths, local net.Addr) *inner {
	return &inner{p: p, local: local, queue: make(chan *queued, queuedSize), done: make(chan struct{})}
}

// put appends a copy of a packet to the queue, or drops it: one sender may have at
// most half of the queue.
func (s *inner) put(count *atomic.Int32, from *net.UDPAddr, b []byte, ecn byte) {
	if len(b) > maxPacket {
		return
	}
	if count.Add(1) > maxWaiting {
		count.Add(-1)
		return
	}
	q := packets.Get().(*queued)
	q.from, q.count, q.ecn, q.n = from, count, ecn, copy(q.b[:], b)
	select {
	case s.queue <- q:
	default:
		q.free()
	}
}

func (q *queued) free() {
	q.count.Add(-1)
	q.from, q.count = nil, nil
	packets.Put(q)
}

// get waits for a packet.
func (s *inner) get() (*queued, error) {
	select {
	case q := <-s.queue:
		return q, nil
	default:
	}
	select {
	case q := <-s.queue:
		return q, nil
	case <-s.done:
		return nil, &net.OpError{Op: "read", Net: "udp", Source: s.local, Err: net.ErrClosed}
	}
}

func (s *inner) ReadFrom(b []byte) (int, net.Addr, error) {
	q, err := s.get()
	if err != nil {
		return 0, nil, err
	}
	defer q.free()
	return copy(b, q.b[:q.n]), q.from, nil
}

func (s *inner) WriteTo(b []byte, to net.Addr) (int, error) {
	u, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, net.InvalidAddrError("not a UDP address")
	}
	return len(b), s.p.send(b, nil, len(b), u)
}

func (s *inner) LocalAddr() net.Addr { return s.local }

// Close ends reading. The real socket is not its own.
func (s *inner) Close() error {
	s.once.Do(func() { close(s.done) })
	return nil
}

// SetReadDeadline ends reading: quic-go sets one only to wake its reader at the
// end.
func (s *inner) SetReadDeadline(t time.Time) error {
	if !t.IsZero() {
		s.Close()
	}
	return nil
}

func (s *inner) SetDeadline(t time.Time) error    { return s.SetReadDeadline(t) }
func (s *inner) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }

// SetReadBuffer has nothing to do, and is there so that quic-go does not complain.
func (s *inner) SetReadBuffer(int) error { return nil }

// SetWriteBuffer is described with SetReadBuffer.
func (s *inner) SetWriteBuffer(int) error { return nil }
