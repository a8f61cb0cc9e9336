package node

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

// A Stream is a stream to a peer for one application protocol: a separate QUIC stream,
// ordered, flow-controlled, and encrypted between the keys of the two nodes. It is a net.Conn.
// [Node.Dial], [Listener.AcceptStream] and [Node.Handle] make streams.
//
// Goroutines may share a Stream, one that reads and one that writes at a time. While it is
// open, its connection is not idle. It survives changes of the path under it, such as a
// reboot of a NAT or a move to another network.
type Stream struct {
	stream   *quic.Stream
	release  func() // may be called again
	protocol string // constant once the application has the stream

	read     chan struct{} // closed when the application has read to the end, or reads no more
	readOnce sync.Once
	wroteAll atomic.Bool // the application has ended its direction
}

var _ net.Conn = (*Stream)(nil)

// newStream enters a stream of the link, until release is called.
func (l *link) newStream(q *quic.Stream, release func()) *Stream {
	s := &Stream{stream: q, read: make(chan struct{})}
	s.release = func() {
		s.readOnce.Do(func() { close(s.read) })
		l.apps.remove(s)
		release()
	}
	l.apps.add(s)
	return s
}

// Peer returns the ID of the peer at the other end, which TLS has proved.
func (s *Stream) Peer() wire.PeerID { return wire.PeerID(s.stream.Conn().RemoteKey()) }

// Protocol returns the name of the application protocol.
func (s *Stream) Protocol() string { return s.protocol }

// Path returns how packets reach the peer at present. The path may change at any time.
func (s *Stream) Path() Path {
	c := s.stream.Conn()
	if l, ok := c.Value.(*link); ok {
		return l.node.pathOf(c)
	}
	return Path{}
}

// Read reads data that the peer has written. It returns io.EOF once the peer has closed the
// stream, or its direction of it, and all data has been read. If the peer does not speak the
// protocol, the error is ErrNoProtocol.
func (s *Stream) Read(b []byte) (int, error) {
	n, err := s.stream.Read(b)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		s.readOnce.Do(func() { close(s.read) })
	}
	return n, s.explain(err)
}

// Write writes data for the peer. It blocks while the peer's flow control window is full.
func (s *Stream) Write(b []byte) (int, error) {
	n, err := s.stream.Write(b)
	return n, s.explain(err)
}

// CloseWrite ends this node's direction: the peer reads io.EOF after the data written. The
// other direction stays open.
func (s *Stream) CloseWrite() error {
	s.wroteAll.Store(true)
	return s.stream.CloseWrite()
}

// Close closes the stream. Data written before still arrives; data that the peer sends is
// discarded. [Node.Close] gives the peer up to a second to read what was written.
func (s *Stream) Close() error {
	defer s.release()
	return s.stream.Close()
}

// Reset closes the stream at once, in both directions, and discards data that has not arrived
// yet. The peer's Read and Write return an error.
func (s *Stream) Reset() { s.reset(wire.ResetCancelled) }

func (s *Stream) reset(code uint64) {
	s.stream.Reset(code)
	s.release()
}

// LocalAddr returns the address of the node's socket.
func (s *Stream) LocalAddr() net.Addr { return s.stream.LocalAddr() }

// RemoteAddr returns the UDP address of the peer as the connection began. See [Stream.Path]
// for how packets reach the peer now.
func (s *Stream) RemoteAddr() net.Addr { return s.stream.RemoteAddr() }

// SetDeadline sets the deadlines of Read and Write. The zero time means none.
func (s *Stream) SetDeadline(t time.Time) error { return s.stream.SetDeadline(t) }

// SetReadDeadline sets the deadline of Read. The zero time means none.
func (s *Stream) SetReadDeadline(t time.Time) error { return s.stream.SetReadDeadline(t) }

// SetWriteDeadline sets the deadline of Write. The zero time means none.
func (s *Stream) SetWriteDeadline(t time.Time) error { return s.stream.SetWriteDeadline(t) }

// abandon ends a stream that the application has left open when the node closes. Data
// written before CloseWrite still arrives.
func (s *Stream) abandon() {
	s.readOnce.Do(func() { close(s.read) })
	if s.wroteAll.Load() {
		s.stream.CancelRead(wire.ResetLeaving)
	} else {
		s.stream.Reset(wire.ResetLeaving)
	}
}

func (s *Stream) explain(err error) error {
	var reset *quic.ResetError
	if errors.As(err, &reset) && reset.Remote && reset.Code == wire.ResetUnknownProtocol {
		return fmt.Errorf("%w: %q: %w", ErrNoProtocol, s.protocol, err)
	}
	return err
}
