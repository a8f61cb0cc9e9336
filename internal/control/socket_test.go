package control

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// dirs are the profiles that a socket is tried in: one with a short name, and
// one whose name no socket could have.
func dirs(t *testing.T) map[string]string {
	long := filepath.Join(t.TempDir(), strings.Repeat("a long name ", 10))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	return map[string]string{"short": t.TempDir(), "long": long}
}

func TestSocket(t *testing.T) {
	for name, dir := range dirs(t) {
		t.Run(name, func(t *testing.T) {
			if _, err := Dial(t.Context(), dir); !errors.Is(err, ErrNoDaemon) {
				t.Fatalf("before there is a daemon: %v", err)
			}
			l, err := Listen(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			if runtime.GOOS != "windows" {
				info, err := os.Stat(filepath.Join(dir, socketName))
				if err != nil || info.Mode().Perm() != 0o600 || info.Mode().Type() != fs.ModeSocket {
					t.Errorf("the socket is %v, %v; want it 0600", info, err)
				}
			}
			if _, err := Dial(t.Context(), dir); err != nil {
				t.Errorf("while there is one: %v", err)
			}
			l.Close()
			if _, err := Dial(t.Context(), dir); !errors.Is(err, ErrNoDaemon) {
				t.Errorf("after it: %v", err)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// A daemon that crashed leaves its socket, on which nobody listens: that is no
// daemon, and the next one takes its place.
func TestStaleSocket(t *testing.T) {
	for name, dir := range dirs(t) {
		t.Run(name, func(t *testing.T) {
			crashed, err := Listen(dir)
			if err != nil {
				t.Fatal(err)
			}
			crashed.UnixListener.Close() // and removes nothing
			if _, err := Dial(t.Context(), dir); !errors.Is(err, ErrNoDaemon) {
				t.Errorf("dialling it: %v", err)
			}
			next, err := Listen(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer next.Close()
			if _, err := Dial(t.Context(), dir); err != nil {
				t.Errorf("dialling the next: %v", err)
			}
			for _, p := range crashed.paths[1:] {
				if _, err := os.Lstat(p); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s is still there", p)
				}
			}
		})
	}
}

// What else stands at the socket's place is nobody's to remove.
func TestSocketPlaceTaken(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, socketName)
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(dir); err == nil {
		t.Error("a directory was replaced")
	}
	if _, err := Listen(filepath.Join(dir, "nowhere")); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("no directory: %v", err)
	}
}

// A link to a place that others may enter is not followed: who listens there may
// be anybody.
func TestSocketElsewhereIsOurs(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no modes")
	}
	dir, open := dirs(t)["long"], t.TempDir()
	if err := os.Chmod(open, 0o755); err != nil {
		t.Fatal(err)
	}
	short := filepath.Join(open, "s")
	l, err := net.Listen("unix", short)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Symlink(short, filepath.Join(dir, socketName)); err != nil {
		t.Fatal(err)
	}
	if _, err := Dial(t.Context(), dir); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("dialling it: %v", err)
	}
}
