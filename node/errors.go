package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

// Errors on which callers branch, with errors.Is. The package comment lists those of all packages.
var (
	ErrNotFound     = errors.New("node: not found")
	ErrQuorum       = errors.New("node: stored on fewer peers than asked")
	ErrUnreachable  = errors.New("node: unreachable")
	ErrWrongPeer    = quic.ErrWrongKey // another key answered at that address
	ErrWrongNetwork = quic.ErrNetwork  // the peer belongs to another network
	ErrBusy         = quic.ErrBusy     // the peer accepts no more connections, or this node sends it too many requests
	ErrClosed       = errors.New("node: closed")
	ErrNotStarted   = errors.New("node: not started")
	ErrNoData       = errors.New("node: nothing is kept on disk: Config.Data is empty")
	ErrNoProtocol   = errors.New("node: the peer does not speak this protocol")
)

// A BootstrapError says that no bootstrap peer answered. The node keeps running
// and retries in the background. errors.Is matches ErrUnreachable and every cause.
type BootstrapError struct {
	Causes []error // one per peer tried
}

// maxCauses bounds the causes in an error's text.
const maxCauses = 4

func (e *BootstrapError) Error() string {
	var causes []string
	for _, c := range e.Causes[:min(len(e.Causes), maxCauses)] {
		causes = append(causes, c.Error())
	}
	if more := len(e.Causes) - len(causes); more > 0 {
		causes = append(causes, fmt.Sprintf("and %d more", more))
	}
	text := fmt.Sprintf("no bootstrap peer answered (%d tried): %s", len(e.Causes), strings.Join(causes, "; "))
	if e.Silent() {
		text += ". If one of them runs, something on the way lets no UDP through"
	}
	return text
}

// Silent reports whether no packet came back from any of the peers: none runs, or a
// middlebox blocks UDP, at least on these ports. "No route", from this machine or from a
// router, counts as no answer.
func (e *BootstrapError) Silent() bool {
	spoke := func(err error) bool {
		switch {
		case errors.Is(err, syscall.ECONNREFUSED):
			return true
		case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
			return false
		}
		return !errors.Is(err, quic.ErrTimeout) && !errors.Is(err, context.DeadlineExceeded)
	}
	return len(e.Causes) > 0 && !slices.ContainsFunc(e.Causes, spoke)
}

func (e *BootstrapError) Unwrap() []error { return append([]error{ErrUnreachable}, e.Causes...) }

// A PutError says which peers did not store a record, and why. errors.Is matches
// ErrQuorum if peers were found but too few of them stored the record, and
// ErrUnreachable if no peer answered or the node is cut off.
type PutError struct {
	Stored Stored
	Quorum int  // as requested
	Alone  bool // no known peer answered; at most this node itself holds the record
	Causes map[wire.PeerID]error

	// CutOff says why the node is connected to no network although it has bootstrap
	// peers. It is nil if the node is connected, or is the first of its network.
	CutOff error
}

func (e *PutError) Error() string {
	msg := fmt.Sprintf("stored on %d of %d peers", e.Stored.Count, e.Stored.Of)
	if e.Quorum > 0 {
		msg += fmt.Sprintf(", %d asked for", e.Quorum)
	}
	switch {
	case e.CutOff != nil && e.Stored.Count > 0:
		return fmt.Sprintf("stored on this node only, which is not connected to its network: %v", e.CutOff)
	case e.CutOff != nil:
		return fmt.Sprintf("stored nowhere, as the node is not connected to its network: %v", e.CutOff)
	case e.Alone && e.Stored.Count > 0:
		msg = fmt.Sprintf("stored on this node only: none of %d peers answered", len(e.Causes))
	case e.Stored.Of == 0:
		msg = "no peer to store on was found"
	}
	for _, cause := range e.Causes { // any one cause is enough
		return msg + ": " + cause.Error()
	}
	return msg
}

func (e *PutError) Is(target error) bool {
	if e.Alone || e.CutOff != nil || e.Stored.Of == 0 {
		return target == ErrUnreachable
	}
	return target == ErrQuorum
}

// A RemoteError is an error that a peer answered to a request, or for one record.
// errors.Is matches its Code.
type RemoteError struct {
	Peer    wire.PeerID
	Code    wire.Code
	Message string // the peer's text, untrusted
}

func (e *RemoteError) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("peer %s answered: %v", e.Peer, e.Code)
	}
	return fmt.Sprintf("peer %s answered: %v: %q", e.Peer, e.Code, e.Message)
}

func (e *RemoteError) Unwrap() error { return e.Code }

func (e *RemoteError) Is(target error) bool {
	return target == ErrBusy && e.Code == wire.CodeBusy
}

// An unreachableError reports a failed dial, with the peer and every cause.
type unreachableError struct {
	peer   wire.PeerID
	causes []error
}

func (e *unreachableError) Error() string {
	if len(e.causes) == 0 {
		return fmt.Sprintf("peer %s is unreachable: no address known", e.peer)
	}
	return fmt.Sprintf("peer %s is unreachable: %v", e.peer, errors.Join(e.causes...))
}

func (e *unreachableError) Unwrap() []error { return append([]error{ErrUnreachable}, e.causes...) }
