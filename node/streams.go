package node

import (
	"context"
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

const (
	// maxBacklog is how many streams wait for one listener's Accept.
	maxBacklog = 32
	// headerTimeout is how long a stream may take to name its protocol.
	headerTimeout = 5 * time.Second
)

// Dial opens a stream to a peer for an application protocol, such as
// "/app/chat/1.0.0": a separate QUIC stream, ordered, flow-controlled and encrypted between the
// two keys. A peer that is not connected is found and
// dialled. The stream is usable at once; if the peer does not speak the
// protocol, the first Read returns an error that is ErrNoProtocol.
//
// The connection under it stays open while the stream does. The stream is also
// a half-closer: CloseWrite() error.
func (n *Node) Dial(ctx context.Context, id wire.PeerID, protocol string) (net.Conn, error) {
	if err := n.ready(ctx); err != nil {
		return nil, err
	}
	if err := wire.CheckProtocol(protocol); err != nil {
		return nil, fmt.Errorf("dial %s: %w", id, err)
	}
	header := wire.AppendStreamHeader(nil, protocol)
	for try := 0; ; try++ {
		l, err := n.reachForStream(ctx, id)
		if err != nil {
			return nil, fmt.Errorf("dial %s: %w", id, err)
		}
		release := l.carryStream()
		s, err := l.conn.OpenStream(ctx)
		if err == nil {
			if _, err = s.Write(header); err == nil {
				a := l.newAppStream(s, release)
				a.protocol = protocol
				return a, nil
			}
			s.Reset(wire.ResetCancelled)
		}
		release()
		if try > 0 || ctx.Err() != nil || !isRetryable(err) {
			return nil, fmt.Errorf("dial %s: %w", id, err)
		}
		l.close()
	}
}

// An appStream is an application's stream; while it is open its connection is
// not idle.
type appStream struct {
	*quic.Stream
	release  func() // may be called again
	protocol string // constant once the application has the stream

	read     chan struct{} // closed when the application has read to the end, or reads no more
	readOnce sync.Once
	wroteAll atomic.Bool // the application has ended its direction
}

// newAppStream enters a stream of the link, until release is called.
func (l *link) newAppStream(s *quic.Stream, release func()) *appStream {
	a := &appStream{Stream: s, read: make(chan struct{})}
	a.release = func() {
		a.readOnce.Do(func() { close(a.read) })
		l.apps.remove(a)
		release()
	}
	l.apps.add(a)
	return a
}

func (s *appStream) Read(b []byte) (int, error) {
	n, err := s.Stream.Read(b)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		s.readOnce.Do(func() { close(s.read) })
	}
	return n, s.explain(err)
}

// CloseWrite ends our direction: the peer reads io.EOF after what was written.
func (s *appStream) CloseWrite() error {
	s.wroteAll.Store(true)
	return s.Stream.CloseWrite()
}

// abandon ends a stream that the application has left open when the node closes. What
// was written before CloseWrite still arrives.
func (s *appStream) abandon() {
	s.readOnce.Do(func() { close(s.read) })
	if s.wroteAll.Load() {
		s.Stream.CancelRead(wire.ResetLeaving)
	} else {
		s.Stream.Reset(wire.ResetLeaving)
	}
}

func (s *appStream) Write(b []byte) (int, error) {
	n, err := s.Stream.Write(b)
	return n, s.explain(err)
}

func (s *appStream) Close() error {
	defer s.release()
	return s.Stream.Close()
}

func (s *appStream) explain(err error) error {
	var reset *quic.ResetError
	if errors.As(err, &reset) && reset.Remote && reset.Code == wire.ResetUnknownProtocol {
		return fmt.Errorf("%w: %q: %w", ErrNoProtocol, s.protocol, err)
	}
	return err
}

// Listen accepts streams of an application protocol. RemoteAddr of an accepted stream is the socket
// address; [PeerOf] returns the peer's ID, which TLS has proved. Peers reach an unreachable node
// through relays: see [Node.Relays]. A client keeps reservations at relays while it listens.
func (n *Node) Listen(protocol string) (net.Listener, error) {
	if err := wire.CheckProtocol(protocol); err != nil {
		return nil, err
	}
	if protocol == wire.ProtocolDrain {
		return nil, fmt.Errorf("protocol %q belongs to the node", protocol)
	}
	n.listenersMu.Lock()
	defer n.listenersMu.Unlock()
	if n.state.Load() == stateClosed {
		return nil, ErrClosed
	}
	if n.listeners[protocol] != nil {
		return nil, fmt.Errorf("protocol %q has a listener already", protocol)
	}
	ln := &listener{node: n, protocol: protocol, backlog: make(chan *appStream, maxBacklog), closed: make(chan struct{})}
	n.listeners[protocol] = ln
	return ln, nil
}

// PeerOf returns the peer at the other end of a stream that [Node.Dial] opened
// or a listener of [Node.Listen] accepted; false for any other connection, also for one
// that wraps such a stream.
func PeerOf(c net.Conn) (wire.PeerID, bool) {
	s, ok := c.(*appStream)
	if !ok {
		return wire.PeerID{}, false
	}
	return wire.PeerID(s.Stream.Conn().RemoteKey()), true
}

// A listener hands the streams of one protocol to its user.
type listener struct {
	node     *Node
	protocol string
	backlog  chan *appStream
	closed   chan struct{}
	once     sync.Once
}

func (ln *listener) Accept() (net.Conn, error) {
	select {
	case <-ln.closed: // before what still waits
		return nil, net.ErrClosed
	default:
	}
	select {
	case s := <-ln.backlog:
		return s, nil
	case <-ln.closed:
		return nil, net.ErrClosed
	}
}

func (ln *listener) Close() error {
	ln.once.Do(func() {
		n := ln.node
		n.listenersMu.Lock()
		delete(n.listeners, ln.protocol)
		close(ln.closed) // under the lock: no stream is queued after this
		n.listenersMu.Unlock()
		for {
			select {
			case s := <-ln.backlog:
				s.Reset(wire.ResetLeaving)
				s.release()
			default:
				return
			}
		}
	})
	return nil
}

// Addr is the protocol's name, on network "kadquic".
func (ln *listener) Addr() net.Addr { return protocolAddr(ln.protocol) }

type protocolAddr string

func (protocolAddr) Network() string  { return "kadquic" }
func (a protocolAddr) String() string { return string(a) }

// acceptStreams takes the peer's application streams until the connection ends.
func (l *link) acceptStreams() {
	for {
		s, err := l.conn.AcceptStream(l.node.ctx)
		if err != nil {
			return
		}
		l.conn.Touch()
		if !l.quota.OpenStream() {
			s.Reset(wire.ResetBusy)
			continue
		}
		// Entered here and not by handleStream: a stream that opens later, and asks
		// whether this one has been read, must find it.
		release := l.carryStream()
		a := l.newAppStream(s, sync.OnceFunc(func() {
			release()
			l.quota.CloseStream()
		}))
		if !l.node.spawn(func() { l.handleStream(a) }) {
			a.release()
			s.Reset(wire.ResetLeaving)
			return
		}
	}
}

// carryStream keeps the connection open for one more application stream, until
// release is called.
func (l *link) carryStream() (release func()) {
	hold := l.conn.Hold()
	l.streams.Add(1)
	return sync.OnceFunc(func() {
		l.streams.Add(-1)
		hold()
	})
}

// handleStream reads which protocol a stream is for and hands it over.
func (l *link) handleStream(s *appStream) {
	s.SetReadDeadline(time.Now().Add(headerTimeout))
	protocol, err := wire.ReadStreamHeader(s.Stream)
	if err != nil {
		s.release()
		s.Reset(wire.ResetProtocol)
		return
	}
	s.SetReadDeadline(time.Time{})
	s.protocol = protocol
	if protocol == wire.ProtocolDrain {
		defer s.release()
		l.apps.remove(s)
		l.serveDrain(s)
		return
	}
	n := l.node
	n.listenersMu.Lock()
	defer n.listenersMu.Unlock()
	ln := n.listeners[protocol]
	if ln == nil {
		s.release()
		s.Reset(wire.ResetUnknownProtocol)
		return
	}
	select {
	case ln.backlog <- s:
	default:
		s.release()
		s.Reset(wire.ResetBusy)
	}
}

// closeListeners ends every listener, at Close.
func (n *Node) closeListeners() {
	n.listenersMu.Lock()
	var all []*listener
	for _, ln := range n.listeners {
		all = append(all, ln)
	}
	n.listenersMu.Unlock()
	for _, ln := range all {
		ln.Close()
	}
}
