package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// command makes the name by which this very binary is the command: see
// [testscript.Main].
func command(t testing.TB) string {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	kad := filepath.Join(t.TempDir(), "kad")
	if err := os.Symlink(self, kad); err != nil {
		t.Skip(err)
	}
	return kad
}

// launch starts kad up on the data directory, on any port of the loopback
// interface; with a tracer that runs it, which is to end with it.
func launch(t testing.TB, kad, data string, tracer ...string) *daemon {
	t.Helper()
	return launchArgs(t, append(tracer, kad, "up", "--data", data, "--listen", "/ip4/127.0.0.1/udp/0/quic-v1"), data)
}

// launchArgs starts a daemon by its whole command line.
func launchArgs(t testing.TB, args []string, home string) *daemon {
	t.Helper()
	d := &daemon{cmd: exec.Command(args[0], args[1:]...), ended: make(chan struct{})}
	d.cmd.Env = []string{"HOME=" + home, "PATH=" + os.Getenv("PATH"), "GOCOVERDIR=" + os.Getenv("GOCOVERDIR")}
	d.cmd.Stdout, d.cmd.Stderr = &d.out, &d.err
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		d.result = d.cmd.Wait()
		close(d.ended)
	}()
	t.Cleanup(func() {
		d.cmd.Process.Kill()
		<-d.ended
	})
	return d
}

// address waits until the process says where it is; false if it ended first.
func (d *daemon) address() (string, bool) {
	timeout := time.After(patience)
	for {
		text, more := d.out.state()
		if m := addrLine.FindStringSubmatch(text); m != nil {
			return m[1], true
		}
		select {
		case <-more:
		case <-d.ended:
			return "", false
		case <-timeout:
			d.cmd.Process.Kill()
		}
	}
}

// alive returns a context that ends with the process.
func (d *daemon) alive() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		select {
		case <-d.ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// complaint is an error if the process said that something was wrong.
func (d *daemon) complaint() error {
	text, _ := d.err.state()
	for line := range strings.Lines(text) {
		if strings.Contains(line, "damage") || strings.Contains(line, "panic") || strings.HasPrefix(line, "kad:") {
			return fmt.Errorf("kad up said: %s", text)
		}
	}
	return nil
}
