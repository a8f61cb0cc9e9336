package quic

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	quicgo "github.com/quic-go/quic-go"
)

// A Transport makes and accepts connections on one socket. Its methods may be
// called by several goroutines at once.
type Transport struct {
	c      Config
	self   PublicKey
	epoch  time.Time
	q      *quicgo.Transport
	ln     *quicgo.Listener
	paths  *paths   // nil without Config.Relay
	v      *virtual // as well
	cert   tls.Certificate
	dialer *quicgo.Config
	budget budget

	wg    sync.WaitGroup // one per connection, until its end is dealt with
	dials atomic.Int32   // under way

	mu      sync.Mutex
	shut    bool
	conns   map[*Conn]struct{} // open ones
	counts  counts
	dialing map[netip.AddrPort]*attempts
}

// NewTransport starts a transport on c.Conn, which it owns from then on: Close
// closes it, and so does an error here.
func NewTransport(c Config) (*Transport, error) {
	c, err := c.filled()
	if err != nil {
		if c.Conn != nil {
			c.Conn.Close()
		}
		return nil, err
	}
	t := &Transport{
		c:       c,
		self:    PublicOf(c.Key),
		epoch:   time.Now(),
		budget:  budget{limit: c.WindowBudget},
		conns:   map[*Conn]struct{}{},
		counts:  counts{maxPending: c.MaxPending, maxIn: c.MaxIn, from: map[netip.Prefix]int{}},
		dialing: map[netip.AddrPort]*attempts{},
	}
	if t.cert, err = certificate(c.Key); err != nil {
		c.Conn.Close()
		return nil, fmt.Errorf("quic: %w", err)
	}
	t.dialer = &quicgo.Config{
		EnableDatagrams:                true,
		Versions:                       []quicgo.Version{quicgo.Version1},
		HandshakeIdleTimeout:           c.HandshakeTimeout,
		MaxIdleTimeout:                 c.IdleTimeout,
		KeepAlivePeriod:                c.KeepAlive,
		InitialPacketSize:              InitialPacketSize,
		DisablePathMTUDiscovery:        true, // see InitialPacketSize
		InitialStreamReceiveWindow:     streamWindow,
		MaxStreamReceiveWindow:         maxStreamWindow,
		InitialConnectionReceiveWindow: connWindow,
		MaxConnectionReceiveWindow:     maxConnWindow,
		AllowConnectionWindowIncrease:  t.grow,
		MaxIncomingStreams:             int64(c.MaxStreams),
		MaxIncomingUniStreams:          -1,
	}
	acceptor := t.dialer.Clone()
	// quic-go gives up a handshake after this long in silence, or twice as long.
	// A dial has its own timeout.
	acceptor.HandshakeIdleTimeout = c.HandshakeTimeout / 2
	token := quicgo.TokenGeneratorKey(t.derive("token", ""))
	// Two sockets that shared a reset key would answer for one another, and so
	// give any peer the tokens that kill connections (RFC 9000 §10.3.2, §21.11).
	reset := quicgo.StatelessResetKey(t.derive("reset", c.Conn.LocalAddr().String()))
	if c.Relay != nil {
		t.paths = newPaths(&t.c)
	}
	t.q = &quicgo.Transport{
		Conn:                wrap(c.Conn, t, t.paths),
		TokenGeneratorKey:   &token,
		StatelessResetKey:   &reset,
		VerifySourceAddress: t.mustProve,
		ConnContext:         t.incoming,
	}
	if t.paths != nil {
		t.q.ConnectionIDGenerator = connIDs{}
		t.paths.out = t.q.Conn
	}
	if t.ln, err = t.q.Listen(t.serverTLS(), acceptor); err == nil && t.paths != nil {
		err = t.startVirtual(acceptor)
	}
	if err != nil {
		c.Conn.Close()
		t.q.Close()
		return nil, fmt.Errorf("quic: %w", err)
	}
	return t, nil
}

// derive makes a secret from the identity, the same at every start.
func (t *Transport) derive(purpose, where string) [32]byte {
	mac := hmac.New(sha256.New, t.c.Key.Seed())
	fmt.Fprintf(mac, "kadquic %s %s", purpose, where)
	return [32]byte(mac.Sum(nil))
}

// LocalAddr is the address of the socket; its IP may be unspecified.
func (t *Transport) LocalAddr() netip.AddrPort { return addrPort(t.c.Conn.LocalAddr()) }

// PublicKey is our own identity.
func (t *Transport) PublicKey() PublicKey { return t.self }

// Accept waits for the next connection that a peer made. It should be called
// without pause: 32 wait, further ones are refused.
func (t *Transport) Accept(ctx context.Context) (*Conn, error) {
	for {
		q, err := t.next(ctx)
		if err != nil {
			return nil, typed(err)
		}
		c := q.Context().Value(connKey{}).(*Conn)
		c.key, err = keyOf(q.ConnectionState().TLS.PeerCertificates)
		if err == nil && c.route != nil && c.route.key != c.key {
			err = fmt.Errorf("%w: a relay said %v", ErrWrongKey, c.route.key)
		}
		if err == nil {
			if err = t.opened(c, q); err == nil {
				return c, nil
			}
		}
		code := t.c.CloseBusy
		if err == ErrClosed {
			code = t.c.CloseLeaving
		}
		q.CloseWithError(quicgo.ApplicationErrorCode(code), "")
	}
}

// mustProve is asked by quic-go for each Initial packet of a stranger.
func (t *Transport) mustProve(a net.Addr) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.counts.mustProve(addrPort(a).Addr())
}

var errNoRoom = errors.New("quic: too many connections")

// incoming is asked by quic-go when a handshake begins; the context it gets is
// done when the connection ends, however early.
func (t *Transport) incoming(ctx context.Context, info *quicgo.ClientInfo) (context.Context, error) {
	c := &Conn{t: t, from: addrPort(info.RemoteAddr).Addr()}
	if t.paths != nil && isName(c.from) {
		if c.route = t.paths.named(c.from); c.route == nil {
			return nil, errNoRoom
		}
	}
	t.mu.Lock()
	if t.shut || !t.counts.mayBegin(c.from) {
		t.mu.Unlock()
		return nil, errNoRoom
	}
	t.counts.begun(c.from)
	t.wg.Add(1)
	t.mu.Unlock()
	if c.route != nil {
		t.paths.count(c.route, 1)
	}
	c.window.Store(connWindow)
	t.budget.force(connWindow)
	context.AfterFunc(ctx, c.end)
	return context.WithValue(ctx, connKey{}, c), nil
}

// opened counts a connection whose handshake is done; the error is ErrClosed or
// errNoRoom.
func (t *Transport) opened(c *Conn, q *quicgo.Conn) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.shut || c.state == ended:
		return ErrClosed
	case !c.dialled && !t.counts.mayOpen(c.from):
		return errNoRoom
	}
	c.q = q
	c.datagrams = c.route == nil && q.ConnectionState().SupportsDatagrams.Remote
	c.opened = time.Now()
	c.Touch()
	t.conns[c] = struct{}{}
	if c.dialled {
		t.wg.Add(1)
		t.budget.force(connWindow)
	} else {
		t.counts.opened(c.from)
		t.counts.settled(c.from)
	}
	c.state = open
	return nil
}

// end runs once, when quic-go has done with the connection.
func (c *Conn) end() {
	t := c.t
	t.mu.Lock()
	if c.state == open {
		delete(t.conns, c)
		if !c.dialled {
			t.counts.closed(c.from)
		}
	} else {
		t.counts.settled(c.from)
	}
	c.state = ended
	watch := c.watch
	c.watch = nil
	t.mu.Unlock()
	if c.route != nil {
		t.paths.count(c.route, -1)
	}
	t.budget.give(c.window.Load())
	c.outbox.close()
	if watch != nil {
		watch()
	}
	t.wg.Done()
}

// grow is asked by quic-go before a connection's receive window grows.
func (t *Transport) grow(q *quicgo.Conn, delta uint64) bool {
	c, ok := q.Context().Value(connKey{}).(*Conn)
	if !ok || !t.budget.take(int64(delta)) {
		return false
	}
	c.window.Add(int64(delta))
	return true
}

// Close ends everything: no more connections are accepted, each open one is
// closed with Config.CloseLeaving, then the socket. It returns when all of it is
// done and the functions run at a connection's end have returned.
func (t *Transport) Close() error {
	t.mu.Lock()
	if t.shut {
		t.mu.Unlock()
		return nil
	}
	t.shut = true
	conns := slices.Collect(maps.Keys(t.conns))
	t.mu.Unlock()

	t.ln.Close()
	if t.v != nil {
		t.v.ln.Close()
	}
	var wg sync.WaitGroup
	for _, c := range conns {
		wg.Go(func() { c.Close(t.c.CloseLeaving, "") })
	}
	// Accept closes the connections that it has not yet returned.
	for {
		if _, err := t.Accept(context.Background()); err != nil {
			break
		}
	}
	wg.Wait()
	if t.paths != nil {
		t.paths.closePorts()
	}
	// The socket first: it wakes quic-go's reader, whatever the socket is.
	err := t.c.Conn.Close()
	t.q.Close()
	if t.v != nil {
		t.v.close()
	}
	t.wg.Wait()
	return err
}
