package quic

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	quicgo "github.com/quic-go/quic-go"
)

// A Conn is a connection to a peer whose key is proved. Its methods may be
// called by several goroutines at once.
type Conn struct {
	// Value belongs to the owner of the connection. Set it in PoolConfig.Opened, or
	// before others have the connection.
	Value any

	t       *Transport
	q       *quicgo.Conn
	key     PublicKey
	dialled bool
	route   *route     // of a virtual connection
	opened  time.Time  // when the handshake was done, on our side
	from    netip.Addr // the address that it counts for, if accepted

	datagrams bool // the peer takes them
	outbox    outbox

	used   atomic.Int64 // when last used, as a duration since t.epoch
	holds  atomic.Int32
	window atomic.Int64 // bytes taken from the window budget

	state state  // guarded by t.mu
	watch func() // run once it has ended; guarded by t.mu

	draining bool // superseded; guarded by the Pool's mu
	retired  atomic.Bool
}

type state uint8

const (
	pending state = iota // handshake under way
	open
	ended
)

// connKey finds the Conn in the context of a quic-go connection, so that
// quic-go's callbacks need no map.
type connKey struct{}

// RemoteKey is the peer's proved key.
func (c *Conn) RemoteKey() PublicKey { return c.key }

// RemoteAddr is where the peer is now, never in IPv4-mapped form; made up while a
// virtual connection is relayed, see Path.
func (c *Conn) RemoteAddr() netip.AddrPort {
	if c.route != nil {
		if p := c.route.path(); p.Kind != Relayed {
			return p.Addr
		}
	}
	return addrPort(c.q.RemoteAddr())
}

// LocalAddr is our end.
func (c *Conn) LocalAddr() netip.AddrPort { return addrPort(c.q.LocalAddr()) }

// Transport is the one that the connection belongs to.
func (c *Conn) Transport() *Transport { return c.t }

// Dialled tells whether we dialled it; else we accepted it.
func (c *Conn) Dialled() bool { return c.dialled }

// OpenStream opens a stream, waiting while the peer allows no more of them.
func (c *Conn) OpenStream(ctx context.Context) (*Stream, error) {
	s, err := c.q.OpenStreamSync(ctx)
	if err != nil {
		return nil, typed(err)
	}
	c.Touch()
	return &Stream{s: s, c: c}, nil
}

// AcceptStream waits for a stream that the peer opens.
func (c *Conn) AcceptStream(ctx context.Context) (*Stream, error) {
	s, err := c.q.AcceptStream(ctx)
	if err != nil {
		return nil, typed(err)
	}
	c.Touch()
	return &Stream{s: s, c: c}, nil
}

// ConnStats are figures of one connection since it began. Bytes count UDP
// payloads.
type ConnStats struct {
	SmoothedRTT, MeanDeviation, MinRTT, LatestRTT time.Duration

	BytesSent, BytesReceived                  uint64
	PacketsSent, PacketsReceived, PacketsLost uint64
}

// Stats reads the connection's figures; it costs a few loads.
func (c *Conn) Stats() ConnStats {
	s := c.q.ConnectionStats()
	return ConnStats{
		SmoothedRTT:     s.SmoothedRTT,
		MeanDeviation:   s.MeanDeviation,
		MinRTT:          s.MinRTT,
		LatestRTT:       s.LatestRTT,
		BytesSent:       s.BytesSent,
		BytesReceived:   s.BytesReceived,
		PacketsSent:     s.PacketsSent,
		PacketsReceived: s.PacketsReceived,
		PacketsLost:     s.PacketsLost,
	}
}

// Close ends the connection and all its streams, and tells the peer why. What
// was written but has not arrived may be lost. It returns when the packet is
// sent. Only the first close counts. Of a longer reason 256 bytes are sent, as all
// must fit one packet; a code over 2^62-1 is sent as that, the highest there is.
func (c *Conn) Close(code uint64, reason string) error {
	return c.q.CloseWithError(quicgo.ApplicationErrorCode(min(code, maxCode)), reason[:min(len(reason), maxReason)])
}

const (
	maxCode   = 1<<62 - 1 // RFC 9000 §16
	maxReason = 256
)

// Done is closed when the connection has ended, for whatever reason.
func (c *Conn) Done() <-chan struct{} { return c.q.Context().Done() }

// Err says why the connection ended: nil while it lives, then *CloseError,
// *ProtocolError, ErrTimeout, ErrForgotten, ErrRefused or ErrClosed.
func (c *Conn) Err() error {
	ctx := c.q.Context()
	if ctx.Err() == nil {
		return nil
	}
	if err := typed(context.Cause(ctx)); err != context.Canceled {
		return err
	}
	return ErrClosed
}

// Touch counts as a use of the connection, now.
func (c *Conn) Touch() { c.used.Store(int64(time.Since(c.t.epoch))) }

// idle is how long ago the connection was last used: opened, touched, a stream
// opened or accepted on it, or a hold released.
func (c *Conn) idle() time.Duration { return time.Since(c.t.epoch) - time.Duration(c.used.Load()) }

// Hold keeps a Pool from closing the connection for being idle, or to make room,
// until release is called. Holds add up; a second call of one release does
// nothing.
func (c *Conn) Hold() (release func()) {
	c.holds.Add(1)
	return sync.OnceFunc(func() {
		c.Touch()
		c.holds.Add(-1)
	})
}

// Held reports whether the connection has a holder.
func (c *Conn) Held() bool { return c.holds.Load() > 0 }

// Retired reports whether the connection was given to Pool.Retire.
func (c *Conn) Retired() bool { return c.retired.Load() }

// alive reports whether the connection has not ended.
func (c *Conn) alive() bool { return c.q.Context().Err() == nil }

// whenEnded runs f once the connection has ended, at once if it has. One f is
// kept, the pool's.
func (c *Conn) whenEnded(f func()) {
	c.t.mu.Lock()
	over := c.state == ended
	if !over {
		c.watch = f
	}
	c.t.mu.Unlock()
	if over {
		f()
	}
}
