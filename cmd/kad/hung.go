package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/kadquic/kadquic/internal/control"
)

// How long a daemon may be silent to a command that has no --timeout. Its status takes
// milliseconds, and a copy of its database comes without a break. Variables for tests.
var (
	statusTime = 10 * time.Second
	stallTime  = time.Minute
)

// errHung is of a daemon that took a connection and does not answer, such as one that
// was stopped.
var errHung = errors.New("it hangs: end its process and start it again")

// statusOf asks a daemon for its status, but waits no longer than statusTime.
func statusOf(ctx context.Context, api control.API) (control.Status, error) {
	hung := fmt.Errorf("no answer in %v; %w", statusTime, errHung)
	ctx, cancel := context.WithTimeoutCause(ctx, statusTime, hung)
	defer cancel()
	s, err := api.Status(ctx)
	if err != nil && errors.Is(context.Cause(ctx), errHung) {
		err = hung
	}
	return s, err
}

// copyOf has a daemon write a copy of its database to w. It gives up when nothing has
// come for stallTime.
func copyOf(ctx context.Context, api control.API, w io.Writer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := time.AfterFunc(stallTime, func() { cancel(fmt.Errorf("nothing came for %v; %w", stallTime, errHung)) })
	defer stall.Stop()
	err := api.Backup(ctx, &stallWriter{w, stall})
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, errHung) {
		err = cause
	}
	return err
}

// A stallWriter writer notes by a timer that something was written.
type stallWriter struct {
	w     io.Writer
	stall *time.Timer
}

func (w *stallWriter) Write(b []byte) (int, error) {
	w.stall.Reset(stallTime)
	return w.w.Write(b)
}
