package quic

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	quicgo "github.com/quic-go/quic-go"
)

// Dial connects to the peer with that key at addr. It returns when the peer has
// proved its key; that the peer accepts ours shows only in what it sends.
//
// Errors, beside those of ctx: ErrWrongKey, ErrNetwork, ErrBusy, ErrUnreachable,
// ErrClosed, and ErrTimeout after Config.HandshakeTimeout. If Admit refused the
// peer, the error is Admit's.
func (t *Transport) Dial(ctx context.Context, addr netip.AddrPort, key PublicKey) (*Conn, error) {
	c, err := t.dial(ctx, netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()), key)
	if err != nil {
		return nil, fmt.Errorf("dial %v: %w", addr, err)
	}
	return c, nil
}

func (t *Transport) dial(ctx context.Context, addr netip.AddrPort, key PublicKey) (*Conn, error) {
	if !addr.IsValid() || addr.Port() == 0 || addr.Addr().IsUnspecified() {
		return nil, fmt.Errorf("%w: nobody can be there", ErrUnreachable)
	}
	if key == t.self {
		return nil, fmt.Errorf("%w: it is our own", ErrWrongKey)
	}
	c := &Conn{t: t, key: key, dialled: true}
	c.window.Store(connWindow)
	bounded, cancel := context.WithCancelCause(context.WithValue(ctx, connKey{}, c))
	timer := time.AfterFunc(t.c.HandshakeTimeout, func() { cancel(ErrTimeout) })
	a := t.attempt(addr, cancel)

	q, err := t.q.Dial(bounded, net.UDPAddrFromAddrPort(addr), t.clientTLS(key), t.dialer)
	timer.Stop()
	t.forget(addr, a)
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

// An attempt is a dial under way to some address.
type attempt struct{ cancel context.CancelCauseFunc }

func (t *Transport) attempt(addr netip.AddrPort, cancel context.CancelCauseFunc) *attempt {
	a := &attempt{cancel: cancel}
	t.mu.Lock()
	t.dialing[addr] = append(t.dialing[addr], a)
	t.mu.Unlock()
	return a
}

func (t *Transport) forget(addr netip.AddrPort, a *attempt) {
	t.mu.Lock()
	defer t.mu.Unlock()
	rest := slices.DeleteFunc(t.dialing[addr], func(o *attempt) bool { return o == a })
	if len(rest) == 0 {
		delete(t.dialing, addr)
	} else {
		t.dialing[addr] = rest
	}
}

// sendFailed hears from the socket that a packet could not be sent. A connection
// takes it for lost and lives on; a dial that starts with no way to its address
// need not wait for its timeout.
func (t *Transport) sendFailed(to netip.AddrPort, err error) {
	if !noWay(err) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, a := range t.dialing[to] {
		a.cancel(fmt.Errorf("%w: %w", ErrUnreachable, err))
	}
}

// noWay tells whether an error of a send means that the address is out of reach
// from here, and not that the packet had bad luck.
func noWay(err error) bool {
	if _, ok := errors.AsType[*net.AddrError](err); ok {
		return true // IPv6 on a socket of IPv4
	}
	errno, ok := errors.AsType[syscall.Errno](err)
	return ok && slices.Contains(unreachable, errno)
}
