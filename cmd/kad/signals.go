package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// withSignals returns a context that ends when the user or the system asks the
// process to: at an interrupt, SIGTERM, or SIGHUP, which comes when the terminal
// closes. A SIGHUP that is ignored at the start, as under nohup, stays ignored. A
// second signal ends the process at once, whatever it waits for.
func withSignals(ctx context.Context) context.Context {
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		ends = append(ends, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(ctx, ends...)
	context.AfterFunc(ctx, stop)
	return ctx
}

// ignoreBrokenPipes keeps the process alive when the reader of its standard output
// or standard error goes away. A node outlives who watches it.
func ignoreBrokenPipes() { signal.Ignore(syscall.SIGPIPE) }
