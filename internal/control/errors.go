package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/kadquic/kadquic/node"
)

// ErrNoDaemon is when no node runs on a profile.
var ErrNoDaemon = errors.New("no node runs on this profile")

// ErrCut is when the daemon ended, or was ended, before its answer did.
var ErrCut = errors.New("the daemon went away before it had answered")

// ErrBadRequest is for a request that cannot be understood or carried out as it
// is asked.
var ErrBadRequest = errors.New("bad request")

// ErrTimeOver is when the time that the caller allowed was over; a value beside
// it is what there was by then.
var ErrTimeOver = errors.New("the time allowed is over")

// codes are the errors that keep their meaning from one process to the other.
var codes = []struct {
	name   string
	err    error
	status int // of HTTP
}{
	{"bad_request", ErrBadRequest, 400},
	{"not_found", node.ErrNotFound, 404},
	{"conflict", node.ErrConflict, 409},
	{"quorum", node.ErrQuorum, 502},
	{"unreachable", node.ErrUnreachable, 502},
	{"wrong_peer", node.ErrWrongPeer, 502},
	{"wrong_network", node.ErrWrongNetwork, 502},
	{"busy", node.ErrBusy, 503},
	{"refused", node.ErrRefused, 403},
	{"no_data", node.ErrNoData, 409},
	{"closed", node.ErrClosed, 503},
	{"not_started", node.ErrNotStarted, 503},
	{codeTimeOver, ErrTimeOver, 504},
	{"timeout", context.DeadlineExceeded, 504},
	{"canceled", context.Canceled, 503},
}

const codeTimeOver = "time_over"

// An Error is an error of the daemon. It keeps the text, and errors.Is matches the
// daemon's sentinel.
type Error struct {
	Message string   `json:"error"`
	Codes   []string `json:"codes,omitempty"` // names of sentinels; unknown ones mean nothing

	// Item is what there is beside the error, such as a value found that may not
	// be the newest.
	Item json.RawMessage `json:"item,omitempty"`
}

func (e *Error) Error() string { return e.Message }

// Is reports whether one of the codes stands for target.
func (e *Error) Is(target error) bool {
	for _, c := range codes {
		if c.err != target {
			continue
		}
		for _, name := range e.Codes {
			if name == c.name {
				return true
			}
		}
	}
	return false
}

// errorOf makes of err what a client can be told.
func errorOf(err error) *Error {
	e := &Error{Message: err.Error()}
	for _, c := range codes {
		if errors.Is(err, c.err) {
			e.Codes = append(e.Codes, c.name)
		}
	}
	return e
}

// status is the HTTP status that goes with e.
func (e *Error) status() int {
	for _, c := range codes {
		if len(e.Codes) > 0 && e.Codes[0] == c.name {
			return c.status
		}
	}
	return 500
}

// A requestError is ErrBadRequest. Its text says what is wrong with the request.
type requestError struct{ error }

func (e requestError) Is(target error) bool { return target == ErrBadRequest }
func (e requestError) Unwrap() error        { return e.error }

func badRequest(format string, args ...any) error {
	return requestError{fmt.Errorf(format, args...)}
}
