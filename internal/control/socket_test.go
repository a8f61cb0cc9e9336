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

// A crashed daemon leaves a socket without a listener, which the next daemon replaces.
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
			for _, p := range crashed.paths[1:] { // where the socket is outside the profile
				if _, err := os.Lstat(p); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s is still there", p)
				}
			}
		})
	}
}

// Serve does not remove any other file in the socket's place.
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

// A link to a directory that other users may enter is not followed: another user could
// listen there.
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

// A socket with a long path stays inside the profile, so that clients find a daemon with
// a private /tmp (systemd's PrivateTmp).
func TestSocketStaysInProfile(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc/self/fd")
	}
	for name, dir := range dirs(t) {
		t.Run(name, func(t *testing.T) {
			temp := t.TempDir()
			t.Setenv("TMPDIR", temp)
			t.Setenv("XDG_RUNTIME_DIR", temp)
			l, err := Listen(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
				t.Errorf("outside the profile: %v, %v", left, err)
			}
			t.Setenv("TMPDIR", t.TempDir())
			t.Setenv("XDG_RUNTIME_DIR", "")
			if _, err := Dial(t.Context(), dir); err != nil {
				t.Errorf("a client with another TMPDIR: %v", err)
			}
		})
	}
}

// Where a long path has no short name, the socket goes into a directory that only
// this user may enter, or nowhere.
func TestSocketElsewhere(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no modes")
	}
	private, shared, dir := t.TempDir(), t.TempDir(), dirs(t)["long"]
	for path, mode := range map[string]os.FileMode{private: 0o700, shared: 0o777} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, socketName)
	t.Setenv("TMPDIR", shared)
	for _, runtimeDir := range []string{"", "relative", shared} {
		t.Setenv("XDG_RUNTIME_DIR", runtimeDir)
		if _, err := listenElsewhere(path); err == nil || !strings.Contains(err.Error(), "XDG_RUNTIME_DIR") {
			t.Errorf("XDG_RUNTIME_DIR=%q: %v, want advice", runtimeDir, err)
		}
	}
	t.Setenv("XDG_RUNTIME_DIR", private)
	l, err := listenElsewhere(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Dial(t.Context(), dir); err != nil {
		t.Errorf("dialling it: %v", err)
	}
	l.UnixListener.Close() // as a crash would
	removeOld(path)
	for _, d := range []string{private, shared, dir} {
		if left, err := os.ReadDir(d); err != nil || len(left) > 0 {
			t.Errorf("left in %s: %v, %v", d, left, err)
		}
	}
}
