package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/control"
	"github.com/kadquic/kadquic/internal/filelock"
	"github.com/kadquic/kadquic/internal/store"
)

// newProfile makes a profile with an identity and a database, on which no node runs.
func newProfile(t *testing.T) (*app, profile, *bytes.Buffer) {
	t.Helper()
	dir, err := os.MkdirTemp("", "kad") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	out := new(bytes.Buffer)
	a := &app{data: dir, out: out, err: io.Discard}
	p, err := a.openProfile()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.key(); err != nil {
		t.Fatal(err)
	}
	d, err := store.Open(p.database(), store.Options{Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	d.Close()
	unlock, err := p.lock()
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	return a, p, out
}

// examined runs doctor, and returns what it says of one thing.
func examined(t *testing.T, a *app, p profile, out *bytes.Buffer, about string) string {
	t.Helper()
	out.Reset()
	a.doctor(t.Context(), p)
	for line := range strings.Lines(out.String()) {
		if strings.Contains(line, " "+about+" ") {
			return line
		}
	}
	t.Fatalf("doctor says nothing of the %s: %s", about, out)
	return ""
}

// A node that takes connections and does not answer holds up no command.
func TestHungNode(t *testing.T) {
	a, p, out := newProfile(t)
	statusTime, stallTime = 50*time.Millisecond, 50*time.Millisecond
	t.Cleanup(func() { statusTime, stallTime = 10*time.Second, time.Minute })
	l, err := net.Listen("unix", filepath.Join(p.dir, "control.sock"))
	if err != nil {
		t.Skip("no such sockets:", err)
	}
	defer l.Close()
	unlock, err := filelock.Lock(p.lockFile())
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	go func() {
		var conns []net.Conn
		for {
			c, err := l.Accept()
			if err != nil {
				break
			}
			conns = append(conns, c)
		}
		for _, c := range conns {
			c.Close()
		}
	}()
	if got := examined(t, a, p, out, "node"); !strings.HasPrefix(got, "BAD") || !strings.Contains(got, "it hangs") {
		t.Errorf("doctor: %s", got)
	}
	if err := a.backup(t.Context(), filepath.Join(t.TempDir(), "kad.tar")); err == nil || !strings.Contains(err.Error(), "it hangs") {
		t.Errorf("backup: %v", err)
	}
	if err := a.salvage(t.Context(), p); err == nil || !strings.Contains(err.Error(), "a node runs") {
		t.Errorf("salvage: %v", err)
	}
}

// A copy that stops coming is given up, however far it is.
func TestStalledCopy(t *testing.T) {
	stallTime = 50 * time.Millisecond
	t.Cleanup(func() { stallTime = time.Minute })
	if err := copyOf(t.Context(), stalled{}, io.Discard); err == nil || !strings.Contains(err.Error(), "it hangs") {
		t.Errorf("copy: %v", err)
	}
}

// stalled is a daemon that hangs in the middle of a copy.
type stalled struct{ control.API }

func (stalled) Backup(ctx context.Context, w io.Writer) error {
	w.Write([]byte("some"))
	<-ctx.Done()
	return ctx.Err()
}

// Doctor finds out what keeps a node from starting: a file of the profile that it can
// read but not write, or not even read.
func TestDoctorTriesWhatANodeOpens(t *testing.T) {
	if os.Geteuid() == 0 || runtime.GOOS == "windows" {
		t.Skip("root may open every file, and Windows has no such modes")
	}
	a, p, out := newProfile(t)
	for _, c := range []struct {
		about, file string
		mode        os.FileMode
	}{
		{"database", p.database(), 0o400},
		{"database", p.database(), 0o200},
		{"database", p.database(), 0o000},
		{"node", p.lockFile(), 0o000},
		{"node", p.lockFile(), 0o400},
	} {
		if got := examined(t, a, p, out, c.about); !strings.HasPrefix(got, "ok") {
			t.Fatalf("whole: %s", got)
		}
		if err := os.Chmod(c.file, c.mode); err != nil {
			t.Fatal(err)
		}
		if got := examined(t, a, p, out, c.about); !strings.HasPrefix(got, "BAD") || !strings.Contains(got, c.file) {
			t.Errorf("%s with mode %o: %s", c.about, c.mode, got)
		}
		if err := os.Chmod(c.file, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
