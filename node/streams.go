package node

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/kadquic/kadquic/wire"
)

const (
	// maxBacklog is how many streams wait for one listener's Accept.
	maxBacklog = 32
	// headerTimeout is how long a stream may take to name its protocol.
	headerTimeout = 5 * time.Second
)

// Dial opens a stream to a peer for an application protocol, such as "/app/chat/1.0.0". It
// finds and dials a peer that is not connected. The stream is usable at once; if the peer does
// not speak the protocol, the first Read returns an error that is ErrNoProtocol. The context
// bounds Dial, not the stream.
func (n *Node) Dial(ctx context.Context, id wire.PeerID, protocol string) (*Stream, error) {
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
				opened := l.newStream(s, release)
				opened.protocol = protocol
				return opened, nil
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

// Listen accepts streams of an application protocol. Peers reach an unreachable node through
// relays: see [Node.Relays]. A client keeps reservations at relays while it listens.
func (n *Node) Listen(protocol string) (*Listener, error) {
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
	ln := &Listener{node: n, protocol: protocol, backlog: make(chan *Stream, maxBacklog), closed: make(chan struct{})}
	n.listeners[protocol] = ln
	return ln, nil
}

// A Listener accepts the streams of one protocol. It is a net.Listener. [Node.Listen] makes
// it. Goroutines may share it.
type Listener struct {
	node     *Node
	protocol string
	backlog  chan *Stream
	closed   chan struct{}
	once     sync.Once
}

// Accept waits for the next stream, a *Stream. After Close the error is net.ErrClosed.
func (ln *Listener) Accept() (net.Conn, error) {
	s, err := ln.AcceptStream(context.Background())
	if err != nil {
		return nil, err
	}
	return s, nil
}

// AcceptStream waits for the next stream. After Close the error is net.ErrClosed.
func (ln *Listener) AcceptStream(ctx context.Context) (*Stream, error) {
	select {
	case <-ln.closed: // before a stream that still waits
		return nil, net.ErrClosed
	default:
	}
	select {
	case s := <-ln.backlog:
		return s, nil
	case <-ln.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Close stops the listener. Streams that wait to be accepted are reset; accepted streams stay
// open.

func (ln *Listener) Close() error {
	ln.once.Do(func() {
		n := ln.node
		n.listenersMu.Lock()
		delete(n.listeners, ln.protocol)
		close(ln.closed) // under the lock: no stream is queued after this
		n.listenersMu.Unlock()
		for {
			select {
			case s := <-ln.backlog:
				s.reset(wire.ResetLeaving)
			default:
				return
			}
		}
	})
	return nil
}

// Addr is the protocol's name, on network "kadquic".
func (ln *Listener) Addr() net.Addr { return protocolAddr(ln.protocol) }

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
		a := l.newStream(s, sync.OnceFunc(func() {
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
func (l *link) handleStream(s *Stream) {
	s.SetReadDeadline(time.Now().Add(headerTimeout))
	protocol, err := wire.ReadStreamHeader(s.stream)
	if err != nil {
		s.reset(wire.ResetProtocol)
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
		s.reset(wire.ResetUnknownProtocol)
		return
	}
	select {
	case ln.backlog <- s:
	default:
		s.reset(wire.ResetBusy)
	}
}

// closeListeners ends every listener, at Close.
func (n *Node) closeListeners() {
	n.listenersMu.Lock()
	var all []*Listener
	for _, ln := range n.listeners {
		all = append(all, ln)
	}
	n.listenersMu.Unlock()
	for _, ln := range all {
		ln.Close()
	}
}
