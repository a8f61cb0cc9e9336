package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/control"
	"github.com/kadquic/kadquic/node"
	"github.com/kadquic/kadquic/wire"
)

func TestExitCodes(t *testing.T) {
	for err, want := range map[error]exitCode{
		nil:                                          exitOK,
		errors.New("whatever"):                       exitError,
		usagef("no %d", 1):                           exitUsage,
		fmt.Errorf("x: %w", node.ErrNotFound):        exitNotFound,
		&node.BootstrapError{}:                       exitUnreachable,
		fmt.Errorf("x: %w", node.ErrWrongPeer):       exitUnreachable,
		fmt.Errorf("x: %w", node.ErrWrongNetwork):    exitUnreachable,
		&timeoutError{time.Second, node.ErrNotFound}: exitTimeout,
		&noDaemonError{}:                             exitNoDaemon,
		fmt.Errorf("x: %w", control.ErrCut):          exitNoDaemon,
		&node.ConflictError{}:                        exitConflict,
		&node.PutError{Stored: node.Stored{Count: 1, Of: 2}, Quorum: 2}: exitQuorum,
		&node.PutError{}: exitUnreachable, // no node was found
	} {
		if got := codeOf(err); got != want {
			t.Errorf("codeOf(%v) = %d, want %d", err, got, want)
		}
	}
}

// A timeout is --timeout's only when that was over: what ends by itself, or by
// the user, keeps its own error.
func TestWithin(t *testing.T) {
	a := &app{timeout: time.Nanosecond}
	waits := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	var timeout *timeoutError
	if err := a.within(t.Context(), waits); !errors.As(err, &timeout) {
		t.Errorf("after the time: %v, want a timeout", err)
	}
	if err := a.within(t.Context(), func(ctx context.Context) error { <-ctx.Done(); return nil }); err != nil {
		t.Errorf("done all the same: %v", err)
	}
	a.timeout = time.Hour
	if err := a.within(t.Context(), func(context.Context) error { return node.ErrNotFound }); !errors.Is(err, node.ErrNotFound) || errors.As(err, &timeout) {
		t.Errorf("in time: %v, want not found", err)
	}
	// A daemon's time is over a little before ours.
	if err := a.within(t.Context(), func(context.Context) error { return fmt.Errorf("x: %w", control.ErrTimeOver) }); !errors.As(err, &timeout) {
		t.Errorf("the daemon says that the time is over: %v, want a timeout", err)
	}
	interrupted, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.within(interrupted, waits); errors.As(err, &timeout) {
		t.Errorf("interrupted: %v, want no timeout", err)
	}
}

func TestIsText(t *testing.T) {
	if !isText([]byte("two\n\tlines\n")) || isText([]byte("\x1b[2J")) || isText([]byte{0xff}) || isText([]byte("a\rb")) {
		t.Error("isText takes commands to a terminal for text, or text for such")
	}
}

// With --json standard error, too, holds objects only, one a line.
func TestJSONOnStandardError(t *testing.T) {
	var b strings.Builder
	a := &app{json: true, verbose: 2, out: io.Discard, err: &b}
	a.note("two\nlines of %q", "text")
	a.remark("for people")
	a.fail(errors.New("whatever"))
	a.logger().Info("a line of the log", "peer", "x")
	a.progress().show("%d bytes", 5)
	a.hop(control.Hop{})
	n := 0
	for line := range strings.Lines(b.String()) {
		n++
		if !json.Valid([]byte(line)) || !strings.HasPrefix(line, "{") {
			t.Errorf("not an object: %q", line)
		}
	}
	if n != 3 {
		t.Errorf("%d lines: %s", n, &b)
	}
}

// JSON means what it meant, and commands no terminal.
func TestJSONIsText(t *testing.T) {
	for _, text := range []string{"plain", "Grüße, 世界", "\u009b2J", "\u202eleft", "\U000e0001tag", "\x1b[2J\n\u2028", "<&>"} {
		var b strings.Builder
		if err := writeJSON(&b, map[string]string{"text": text}); err != nil {
			t.Fatal(err)
		}
		var back map[string]string
		if err := json.Unmarshal([]byte(b.String()), &back); err != nil || back["text"] != text {
			t.Errorf("%q came back as %q, %v", text, back["text"], err)
		}
		if line := strings.TrimSuffix(b.String(), "\n"); line != wire.Printable(line) {
			t.Errorf("%q is written as %q", text, line)
		}
	}
}

// A file is replaced as a whole, and only by a value.
func TestReplaceFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "value")
	for _, want := range []string{"a long first value", "short"} {
		if err := replaceFile(path, []byte(want)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("the file holds %q, %v, want %q", got, err, want)
		}
	}
	if err := replaceFile(filepath.Join(path, "below a file"), nil); err == nil {
		t.Error("no error for a path that cannot be")
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// A result that could not be written, on a full disk say, is a failure.
func TestUnwrittenResult(t *testing.T) {
	r, w := io.Pipe()
	r.CloseWithError(errors.New("no space left"))
	for _, args := range [][]string{{"id"}, {"--json", "id"}} {
		var said strings.Builder
		a := &app{out: w, err: &said}
		if code := a.run(t.Context(), append(args, "--data", t.TempDir())); code != int(exitError) {
			t.Errorf("kad %v: exit code %d", args, code)
		}
		if !strings.Contains(said.String(), "no space left") {
			t.Errorf("kad %v says %q", args, said.String())
		}
	}
}
