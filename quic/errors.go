package quic

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"

	quicgo "github.com/quic-go/quic-go"
)

// Errors that callers branch on, with [errors.Is].
var (
	// ErrClosed: the transport, pool, connection or stream was closed here.
	// It matches [net.ErrClosed] too.
	ErrClosed error = closedError{}

	// ErrTimeout: the peer did not answer in time. It is a [net.Error] whose
	// Timeout is true. A caller's own context that ends is reported as the
	// context's error instead.
	ErrTimeout error = timeoutError{}

	// ErrWrongKey: the peer at the address dialled has another key.
	ErrWrongKey = errors.New("quic: another key answered")

	// ErrNetwork: the peer belongs to another network (its ALPN differs).
	ErrNetwork = errors.New("quic: the peer belongs to another network")

	// ErrRefused: the peer's Admit refused our key.
	ErrRefused = errors.New("quic: the peer refused our key")

	// ErrBusy: the peer, or the pool, has no room for a connection now.
	ErrBusy = errors.New("quic: no room for another connection")

	// ErrUnreachable: this machine cannot send to the address dialled (no
	// route, no such address family), or the host reported the port as closed.
	ErrUnreachable = errors.New("quic: address cannot be reached")

	// ErrWouldBlock: TryWrite found no room.
	ErrWouldBlock = errors.New("quic: write would block")

	// ErrForgotten: the peer answered with a stateless reset: it restarted and
	// knows the connection no more (RFC 9000 §10.3).
	ErrForgotten = errors.New("quic: the peer no longer knows the connection")
)

// CloseError says that a connection was closed with a code, by the peer
// (Remote) or by us. Ours matches [ErrClosed] and [net.ErrClosed].
type CloseError struct {
	Code   uint64
	Reason string // chosen by the side that closed: quote it before showing it
	Remote bool
}

func (e *CloseError) Error() string {
	who := "here"
	if e.Remote {
		who = "by the peer"
	}
	if e.Reason == "" {
		return fmt.Sprintf("quic: connection closed %s (code %d)", who, e.Code)
	}
	return fmt.Sprintf("quic: connection closed %s (code %d): %q", who, e.Code, e.Reason)
}

// Is makes a local close match ErrClosed and net.ErrClosed.
func (e *CloseError) Is(target error) bool {
	return !e.Remote && (target == ErrClosed || target == net.ErrClosed)
}

// ResetError says that a direction of a stream was abandoned with a code, by
// the peer (Remote) or by us. Ours matches [ErrClosed] and [net.ErrClosed].
type ResetError struct {
	Code   uint64
	Remote bool
}

func (e *ResetError) Error() string {
	if e.Remote {
		return fmt.Sprintf("quic: stream reset by the peer (code %d)", e.Code)
	}
	return fmt.Sprintf("quic: stream reset here (code %d)", e.Code)
}

// Is makes a local reset match ErrClosed and net.ErrClosed.
func (e *ResetError) Is(target error) bool {
	return !e.Remote && (target == ErrClosed || target == net.ErrClosed)
}

// ProtocolError says that a connection broke below the application: a peer
// that violates QUIC or TLS, or a fault of an implementation.
type ProtocolError struct {
	Code   uint64 // RFC 9000 §20.1; 0x100 + alert for TLS
	Reason string // may have been chosen by the peer: quote it before showing it
	Remote bool   // the peer raised it
}

func (e *ProtocolError) Error() string {
	who := "here"
	if e.Remote {
		who = "by the peer"
	}
	return fmt.Sprintf("quic: protocol error found %s (code %#x): %q", who, e.Code, e.Reason)
}

type closedError struct{}

func (closedError) Error() string        { return "quic: closed" }
func (closedError) Is(target error) bool { return target == net.ErrClosed }

type timeoutError struct{}

func (timeoutError) Error() string   { return "quic: timed out" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }

// KeyError is ErrWrongKey with its evidence: whose key was wanted, and whose
// answered.
type KeyError struct{ Want, Got PublicKey }

func (e *KeyError) Error() string {
	return fmt.Sprintf("quic: another key answered: %v, not %v", e.Got, e.Want)
}

// Is makes it match ErrWrongKey.
func (e *KeyError) Is(target error) bool { return target == ErrWrongKey }

// An admitError says that Config.Admit refused the peer that answered.
type admitError struct {
	key PublicKey
	err error
}

func (e *admitError) Error() string { return fmt.Sprintf("quic: %v is not admitted: %v", e.key, e.err) }
func (e *admitError) Unwrap() error { return e.err }

// TLS alerts that carry a meaning here (RFC 8446 §6).
const (
	cryptoError     = 0x100 // RFC 9001 §4.8: 0x100 + alert
	alertBadCert    = 42    // the verification of our certificate said no
	alertNoProtocol = 120   // no_application_protocol: the ALPN
)

// typed turns an error of quic-go into one of this package. Contexts' errors, io.EOF and
// deadline errors pass unchanged.
func typed(err error) error {
	switch err {
	case nil:
		return nil
	case io.EOF, context.Canceled, context.DeadlineExceeded:
		return err
	}
	if se, ok := errors.AsType[*quicgo.StreamError](err); ok {
		return &ResetError{Code: uint64(se.ErrorCode), Remote: se.Remote}
	}
	if ae, ok := errors.AsType[*quicgo.ApplicationError](err); ok {
		return &CloseError{Code: uint64(ae.ErrorCode), Reason: ae.ErrorMessage, Remote: ae.Remote}
	}
	if te, ok := errors.AsType[*quicgo.TransportError](err); ok {
		return typedTransport(te)
	}
	if _, ok := errors.AsType[*quicgo.StatelessResetError](err); ok {
		return ErrForgotten
	}
	if _, ok := errors.AsType[*quicgo.VersionNegotiationError](err); ok {
		return fmt.Errorf("%w: no QUIC version in common", ErrNetwork)
	}
	if _, ok := errors.AsType[*quicgo.IdleTimeoutError](err); ok {
		return ErrTimeout
	}
	if _, ok := errors.AsType[*quicgo.HandshakeTimeoutError](err); ok {
		return ErrTimeout
	}
	if errors.Is(err, quicgo.ErrStreamClosed) || errors.Is(err, net.ErrClosed) || errors.Is(err, quicgo.ErrServerClosed) {
		return ErrClosed
	}
	return err
}

func typedTransport(te *quicgo.TransportError) error {
	if ke, ok := errors.AsType[*KeyError](te); ok {
		return ke
	}
	if ae, ok := errors.AsType[*admitError](te); ok {
		return ae
	}
	if te.Remote {
		switch te.ErrorCode {
		case quicgo.ConnectionRefused:
			return ErrBusy
		case cryptoError + alertNoProtocol:
			return ErrNetwork
		case cryptoError + alertBadCert:
			return ErrRefused
		}
	}
	reason := te.ErrorMessage
	if _, ok := errors.AsType[tls.AlertError](te); ok || reason == "" {
		reason = te.Error()
	}
	return &ProtocolError{Code: uint64(te.ErrorCode), Reason: reason, Remote: te.Remote}
}
