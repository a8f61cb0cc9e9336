package quic

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	quicgo "github.com/quic-go/quic-go"
)

// Dial connects to the peer with that key at addr. It returns when the peer has
// proved its key; only the peer's first data shows that it accepts our key.
//
// Dial returns the errors of ctx, and: ErrWrongKey, ErrNetwork, ErrBusy, ErrUnreachable,
// ErrClosed, and ErrTimeout after Config.HandshakeTimeout. If Admit refused the
// peer, the error is Admit's. ErrUnreachable comes at once: there is no route
// to addr, or (on Linux) its host reported the port as closed.
func (t *Transport) Dial(ctx context.Context, addr netip.AddrPort, key PublicKey) (*Conn, error) {
	c, err := t.dial(ctx, netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()), key)
	if err != nil {
		return nil, fmt.Errorf("dial %v: %w", addr, err)
	}
	return c, nil
}

func (t *Transport) dial(ctx context.Context, addr netip.AddrPort, key PublicKey) (_ *Conn, err error) {
	if !addr.IsValid() || addr.Port() == 0 || addr.Addr().IsUnspecified() {
		return nil, fmt.Errorf("%w: not an address of a host", ErrUnreachable)
	}
	if key == t.self {
		return nil, fmt.Errorf("%w: the key is our own", ErrWrongKey)
	}
	c := &Conn{t: t, key: key, dialled: true}
	over, conf := t.q, t.dialer
	if t.paths != nil && isName(addr.Addr()) {
		r := t.paths.named(addr.Addr())
		if r == nil || addr != r.name || r.key != key {
			return nil, fmt.Errorf("%w: the made-up address is not of this peer, or forgotten", ErrUnreachable)
		}
		c.route, over, conf = r, t.v.q, t.v.dialer
		t.paths.count(r, 1)
		defer func() {
			if err != nil {
				t.paths.count(r, -1)
			}
		}()
	}
	c.window.Store(connWindow)
	bounded, cancel := context.WithCancelCause(context.WithValue(ctx, connKey{}, c))
	timer := time.AfterFunc(t.c.HandshakeTimeout, func() { cancel(ErrTimeout) })
	end := t.begin(addr, cancel)
	q, err := over.Dial(bounded, net.UDPAddrFromAddrPort(addr), t.clientTLS(key), conf)
	end()
	timer.Stop()
	cancel(nil)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, typed(err)
	}
	if err := t.opened(c, q); err != nil {
		q.CloseWithError(quicgo.ApplicationErrorCode(t.c.CloseLeaving), "")
		return nil, err
	}
	context.AfterFunc(q.Context(), c.end)
	return c, nil
}
