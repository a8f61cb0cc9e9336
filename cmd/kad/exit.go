package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/kadquic/kadquic/internal/control"
	"github.com/kadquic/kadquic/node"
)

// An exitCode is the exit status of the process. The numbers are part of the
// command's interface: scripts branch on them.
type exitCode int

const (
	exitOK          exitCode = 0
	exitError       exitCode = 1 // any other error
	exitUsage       exitCode = 2 // the command line or an input is wrong
	exitNotFound    exitCode = 3 // no such value or peer
	exitNoDaemon    exitCode = 4 // no running node to ask
	exitUnreachable exitCode = 5 // no peer answered
	exitTimeout     exitCode = 6 // --timeout was over
	exitQuorum      exitCode = 7 // stored, or found, on fewer nodes than asked
	exitConflict    exitCode = 8 // another version stands than put --if-seq expects
)

const exitCodesHelp = `Exit codes: 0 ok, 1 error, 2 wrong usage, 3 not found, 4 no daemon,
5 unreachable, 6 timeout, 7 on fewer nodes than asked, 8 conflict.`

// A usageError is a mistake of the caller's, found before anything was done.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// A timeoutError says that the time allowed by --timeout was over, and what had
// gone wrong by then.
type timeoutError struct {
	limit time.Duration
	err   error
}

func (e *timeoutError) Error() string {
	return fmt.Sprintf("not done within the %v that --timeout allows: %v", e.limit, e.err)
}

func (e *timeoutError) Unwrap() error { return e.err }

// errQuiet ends a command with exit code 1 when all there is to say was said.
var errQuiet = errors.New("failed")

// codeOf gives the exit code of a command that returned err.
func codeOf(err error) exitCode {
	var usage *usageError
	var timeout *timeoutError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &timeout):
		return exitTimeout
	case errors.Is(err, control.ErrNoDaemon), errors.Is(err, control.ErrCut):
		return exitNoDaemon
	case errors.Is(err, node.ErrNotFound):
		return exitNotFound
	case errors.Is(err, node.ErrConflict):
		return exitConflict
	case errors.Is(err, node.ErrQuorum):
		return exitQuorum
	case errors.Is(err, node.ErrUnreachable), errors.Is(err, node.ErrWrongPeer), errors.Is(err, node.ErrWrongNetwork):
		return exitUnreachable
	}
	return exitError
}
