package quic

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	quicgo "github.com/quic-go/quic-go"
)

// A Stream is one bidirectional stream of a connection, a [net.Conn]. One
// goroutine may read while another writes, and any may close. The peer hears of
// a new stream with its first byte.
type Stream struct {
	s       *quicgo.Stream
	c       *Conn
	writing atomic.Int32
}

var _ net.Conn = (*Stream)(nil)

// Conn is the connection that the stream belongs to.
func (s *Stream) Conn() *Conn { return s.c }

// Read reads what has come. io.EOF means that the peer closed its direction;
// a *ResetError that it gave the stream up.
func (s *Stream) Read(b []byte) (int, error) {
	n, err := s.s.Read(b)
	if err != nil && err != io.EOF {
		err = typed(err)
	}
	return n, err
}

// Peek waits until len(b) bytes have come, and copies them without taking them
// off the stream. At its end it returns those there are, and io.EOF.
func (s *Stream) Peek(b []byte) (int, error) {
	n, err := s.s.Peek(b)
	if err != nil && err != io.EOF {
		err = typed(err)
	}
	return n, err
}

// Write sends b. It returns when all of it is buffered for sending or sent, not
// when it has arrived.
func (s *Stream) Write(b []byte) (int, error) {
	s.writing.Add(1)
	n, err := s.s.Write(b)
	s.writing.Add(-1)
	if err != nil {
		err = typed(err)
	}
	return n, err
}

// TryWrite sends all of b if flow control allows it now, else nothing of it and
// returns ErrWouldBlock. It never blocks, so that a stream of small messages
// needs no goroutine to write them. It must not run beside a Write.
func (s *Stream) TryWrite(b []byte) error {
	err := s.s.TryWriteAll(b)
	if errors.Is(err, quicgo.ErrWouldBlock) {
		return ErrWouldBlock
	}
	return typed(err)
}

// CloseWrite ends our direction: the peer reads io.EOF after what was written.
// Reading goes on. It must not run beside a Write.
func (s *Stream) CloseWrite() error {
	_ = s.s.Close() // fails only for a stream already reset, which is as closed
	return nil
}

// CancelRead tells the peer to send no more: its writes fail with code, ours to
// read are dropped.
func (s *Stream) CancelRead(code uint64) { s.s.CancelRead(quicgo.StreamErrorCode(min(code, maxCode))) }

// AfterWriteEnds calls f in a new goroutine when the stream can no longer be
// written: the peer has sent STOP_SENDING, we have closed or reset our direction,
// or the connection has ended. It costs no goroutine until then.
func (s *Stream) AfterWriteEnds(f func()) { context.AfterFunc(s.s.Context(), f) }

// Reset ends the stream in both directions with a code: bytes in flight may be
// lost, and the peer's reads and writes fail with a *ResetError.
func (s *Stream) Reset(code uint64) {
	s.s.CancelWrite(quicgo.StreamErrorCode(min(code, maxCode)))
	s.s.CancelRead(quicgo.StreamErrorCode(min(code, maxCode)))
}

// Close closes both directions: bytes already written still arrive (as long as the
// connection lives), and bytes that the peer still sends are refused with code 0. It
// cancels a Write blocked in another goroutine, and then resets the stream.
func (s *Stream) Close() error {
	s.s.CancelRead(0)
	if s.writing.Load() > 0 {
		s.s.CancelWrite(0)
		return nil
	}
	return s.CloseWrite()
}

// LocalAddr is our end of the connection, a *net.UDPAddr.
func (s *Stream) LocalAddr() net.Addr { return s.c.q.LocalAddr() }

// RemoteAddr is the peer's end of the connection, a *net.UDPAddr; see
// [Conn.RemoteAddr].
func (s *Stream) RemoteAddr() net.Addr {
	if s.c.route == nil {
		return s.c.q.RemoteAddr()
	}
	return net.UDPAddrFromAddrPort(s.c.RemoteAddr())
}

// SetDeadline sets both deadlines; see [net.Conn].
func (s *Stream) SetDeadline(t time.Time) error { return s.s.SetDeadline(t) }

// SetReadDeadline makes Read fail with os.ErrDeadlineExceeded after t.
func (s *Stream) SetReadDeadline(t time.Time) error { return s.s.SetReadDeadline(t) }

// SetWriteDeadline makes Write fail with os.ErrDeadlineExceeded after t.
func (s *Stream) SetWriteDeadline(t time.Time) error { return s.s.SetWriteDeadline(t) }
