package node

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/kadquic/kadquic/internal/peerref"
	"github.com/kadquic/kadquic/internal/swarm"
	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// A link is one connection to a peer, with its request stream. It is up once
// both sides have sent HELLO: in TLS 1.3 the dialler's handshake completes even if
// the other side then refuses the connection.
type link struct {
	node  *Node
	began time.Time
	conn  *quic.Conn
	id    wire.PeerID
	key   routing.Key // the peer's place in the key space
	ref   *peerref.Ref
	addr  netip.AddrPort // the variable elsewhere, if the connection is virtual
	at    wire.Addr      // addr, as the peerstore names it; "" if the connection is virtual

	ready chan struct{}        // closed when the request stream is open or has failed to open
	up    chan struct{}        // closed when the link is up or has failed
	err   error                // why the link has failed; valid once up is closed
	hello wire.Hello           // the peer's first; valid once up is closed without err
	rpc   *swarm.RequestStream // likewise
	rtt   swarm.RTT

	mode      atomic.Uint32 // the peer's wire.Mode, by its latest HELLO
	saying    sync.Mutex    // held while a HELLO with a new mode is sent
	said      wire.Mode     // this node's mode in the latest HELLO sent; guarded by saying once the link is up
	announced wire.Addr     // the peer's observed address that it was last sent; task announce only

	unsolicited bool                           // inbound from an IP to which this node had sent nothing
	freshPort   bool                           // inbound from a port to which this node had sent nothing
	sees        atomic.Pointer[netip.AddrPort] // this node's address that the peer observed last; nil: none reported

	reading sync.Once // of datagrams

	silence swarm.Silence // consulted when requests go unanswered

	streams atomic.Int32  // number of application streams open on the connection
	apps    appStreams    // the application streams
	came    atomic.Uint64 // packets received at the latest MayStall

	quota    *swarm.Quota  // of the peer; all its links share it
	requests *rate.Limiter // the quota's; nil: unlimited (loopback), as for stores
	stores   *rate.Limiter
}

// ID returns the peer's identity, which the connection has proved.
func (l *link) ID() wire.PeerID { return l.id }

// Ref returns the object that represents the peer in the routing table.
func (l *link) Ref() *peerref.Ref { return l.ref }

// Conn returns the connection.
func (l *link) Conn() *quic.Conn { return l.conn }

// RemoteAddr returns the peer's address, or an address that belongs to no network if the
// connection goes through a relay.
func (l *link) RemoteAddr() netip.AddrPort { return l.addr }

// Hello returns the peer's first HELLO. The link must be up.
func (l *link) Hello() wire.Hello { return l.hello }

// Call sends a request and returns the reply, which may be a wire.Error, and how long it
// took.
func (l *link) Call(ctx context.Context, m wire.Message) (wire.Message, time.Duration, error) {
	return l.rpc.Call(ctx, m)
}

// Notify sends a message that has no reply.
func (l *link) Notify(m wire.Message) error { return l.rpc.Send(wire.Frame{Body: m}) }

func (n *Node) newLink(c *quic.Conn) *link {
	l := &link{
		node:  n,
		began: time.Now(),
		conn:  c,
		id:    wire.PeerID(c.RemoteKey()),
		addr:  c.RemoteAddr(),
		ready: make(chan struct{}),
		up:    make(chan struct{}),
	}
	if c.Virtual() {
		l.addr = elsewhere
	}
	l.ref = n.refs.Of(l.id)
	l.quota = n.quotas.Acquire(l.id, time.Now())
	l.key = l.ref.Key
	if !c.Virtual() {
		l.at = wire.AddrFrom(l.addr)
	}
	l.announced = l.at // by HELLO
	ip, port := n.self.MarkContacted(l.addr, time.Now())
	l.unsolicited, l.freshPort = !ip && !c.Dialled(), !port && !c.Dialled()
	if rtt, ok := n.peers.RTT(l.id); ok {
		l.rtt.Set(rtt)
	} else if s := c.Stats(); s.SmoothedRTT > 0 {
		l.rtt.Set(routing.NewRTT(s.SmoothedRTT, s.MeanDeviation))
	}
	if !l.addr.Addr().IsLoopback() {
		l.requests, l.stores = l.quota.Requests, l.quota.Stores
	}
	return l
}

// opened is called by the pool for each new connection. It starts a link, which serves
// the connection until it ends.
func (n *Node) opened(c *quic.Conn) {
	l := n.newLink(c)
	c.Value = l
	n.links.add(l)
	if !n.spawn(func() { l.serveUntilClosed() }) {
		l.fail(ErrClosed)
		n.drop(l)
		c.Close(wire.CloseLeaving, "")
	}
}

// serveUntilClosed exchanges HELLO and then answers requests. It is the only
// goroutine that reads the request stream.
func (l *link) serveUntilClosed() {
	n := l.node
	ctx, cancel := context.WithTimeout(n.ctx, handshakeTimeout)
	err := l.exchangeHello(ctx)
	cancel()
	if err != nil {
		n.notLinked(l, err)
		l.conn.Close(closeCode(err), "") // first, so that a caller that retries does not get this connection
		n.drop(l)
		l.fail(fmt.Errorf("peer %s: %w", l.id, err))
		return
	}
	n.linked(l)
	close(l.up)
	l.sayMode() // if the mode has changed meanwhile
	n.spawn(func() { l.acceptStreams() })

	err = l.rpc.Run(l.serve)
	if cause := l.conn.Err(); cause != nil {
		err = cause
	}
	l.conn.Close(closeCode(err), "") // first, for the same reason
	n.drop(l)
	l.rpc.End(fmt.Errorf("%w: %w", swarm.ErrConnClosed, err))
	n.unlinked(l, err)
}

func (l *link) fail(err error) {
	l.err = err
	close(l.up)
}

// exchangeHello opens (as the dialler) or accepts the request stream, and sends and
// receives HELLO.
func (l *link) exchangeHello(ctx context.Context) error {
	var stream *quic.Stream
	var err error
	if l.conn.Dialled() {
		stream, err = l.conn.OpenStream(ctx)
	} else {
		stream, err = l.conn.AcceptStream(ctx)
	}
	close(l.ready)
	if err != nil {
		return err
	}
	l.rpc = swarm.NewRequestStream(stream, l.node.config.RPCTimeout, l)
	if l.conn.Dialled() {
		if err := l.sendHello(); err != nil {
			return err
		}
	}
	deadline, _ := ctx.Deadline()
	stream.SetReadDeadline(deadline)
	f, err := l.rpc.Read()
	if err != nil {
		if cause := l.conn.Err(); cause != nil {
			return cause
		}
		return err
	}
	stream.SetReadDeadline(time.Time{})
	hello, ok := f.Body.(wire.Hello)
	if !ok {
		return &protocolError{fmt.Sprintf("first frame is %T, want HELLO", f.Body)}
	}
	l.hello = hello
	if l.conn.Dialled() {
		return nil
	}
	return l.sendHello()
}

func (l *link) sendHello() error {
	n := l.node
	l.said = n.mode()
	h := wire.Hello{Mode: l.said, Agent: n.config.Agent, Clock: time.Now(), Observed: l.at}
	if h.Mode == wire.ModeServer || len(n.relays.Relays()) > 0 {
		h.Record = n.ownRecord()
	}
	return l.rpc.Send(wire.Frame{Body: h})
}

// MayStall reports whether application streams may have used up the flow control window,
// and notes how many packets have arrived so far.
func (l *link) MayStall() bool {
	if l.streams.Load() == 0 {
		return false
	}
	l.came.Store(l.conn.Stats().PacketsReceived)
	return true
}

// IsStalled reports whether unread application streams, here or at the peer, have used up
// the window that they share with the request stream: frames of this node cannot be sent,
// or packets arrive but no answer. If so, the connection stays for the streams, and
// requests get another. QUIC grants memory to the connection and not to a stream, so
// requests cannot have a reserve: quic-go lets streams take all of the window, and does not
// report how much is left.
func (l *link) IsStalled(unanswered time.Duration) bool {
	s := l.conn.Stats()
	came := l.came.Swap(s.PacketsReceived) != s.PacketsReceived || l.conn.Retired()
	if l.streams.Load() == 0 || unanswered < max(swarm.StalledAfter, 4*s.SmoothedRTT) || !came && !l.rpc.IsBlocked() {
		return false
	}
	l.node.config.Logger.Debug("unread streams block requests", "peer", l.id, "path", l.conn.Path())
	l.node.pool.Retire(l.conn)
	return true
}

// HandleSilence closes a connection whose peer has stopped answering. One that carries
// streams closes only if QUIC has received nothing for longer than its keep-alive takes:
// when the application, here or at the peer, is slow to read, the window may be used up, so
// that requests and answers wait with all other data.
func (l *link) HandleSilence() {
	l.node.failed(l.id)
	if l.conn.Held() && !l.silence.Lasts(l.conn.Stats().PacketsReceived, time.Now(), maxSilence) {
		return
	}
	l.conn.Close(wire.CloseNone, "no answer")
}

// HandleLate notes that the peer has answered, though the caller had stopped waiting.
func (l *link) HandleLate(m wire.Message, took time.Duration) { l.node.answered(l, m, took) }

// maxSilence is how long a connection that carries streams may receive no packet. QUIC
// sends a keep-alive before (quic.Config.KeepAlive), which the peer acknowledges.
const maxSilence = 30 * time.Second

// closeFor closes the connection after an error for which a request is sent again. A
// stalled connection stays open, because it carries streams.
func (l *link) closeFor(err error) {
	if !errors.Is(err, swarm.ErrStalled) {
		l.close()
	}
}

// close closes a connection after a stream or request on it has failed. A stream may
// fail a moment before its connection is known to have ended: without close, a retry
// would get the same connection. On a nil link it does nothing.
func (l *link) close() {
	if l != nil {
		l.conn.Close(wire.CloseNone, "")
	}
}

// IsUp reports whether the link is up, or was.
func (l *link) IsUp() bool {
	select {
	case <-l.up:
		return l.err == nil
	default:
		return false
	}
}

// IsServer reports whether the peer belongs in routing tables. Valid once up. The peer of
// a virtual connection, called through a relay, does not: others could not reach it.
func (l *link) IsServer() bool {
	return wire.Mode(l.mode.Load()) == wire.ModeServer && !l.conn.Virtual()
}

// A protocolError ends a link whose peer violates the protocol.
type protocolError struct{ what string }

func (e *protocolError) Error() string { return "protocol violation: " + e.what }

// closeCode returns the code that tells the peer why its link ends.
func closeCode(err error) uint64 {
	var perr *protocolError
	var invalid *wire.InvalidError // an invalid frame in place of HELLO
	switch {
	case errors.As(err, &perr), errors.Is(err, wire.ErrMalformed), errors.Is(err, wire.ErrTooLarge), errors.As(err, &invalid):
		return wire.CloseProtocol
	case errors.Is(err, swarm.ErrQueueFull):
		return wire.CloseBusy
	case errors.Is(err, ErrClosed):
		return wire.CloseLeaving
	}
	return wire.CloseNone
}
