package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
)

// socketName is the name of the control socket in a profile's directory. Where
// the whole path is too long for a socket it is a symbolic link to a place with
// a short name.
const socketName = "control.sock"

// maxPath is the longest path that a socket may have: sun_path has 104 bytes on
// macOS and the BSDs, 108 on Linux and Windows, one of them a zero.
const maxPath = 103

// A Listener is a control socket. It is for one process at a time: who listens
// must hold the lock of the profile.
type Listener struct {
	*net.UnixListener
	remove sync.Once
	paths  []string // to be removed, in order
}

// Listen opens the control socket of the profile in dir, for its owner alone. A
// socket that a crashed process left there is replaced.
func Listen(dir string) (*Listener, error) {
	l, err := listen(dir)
	if err != nil {
		return nil, fmt.Errorf("control socket in %q: %w", dir, err)
	}
	return l, nil
}

func listen(dir string) (*Listener, error) {
	path := filepath.Join(dir, socketName)
	removeOld(path)
	if len(path) > maxPath {
		return listenElsewhere(path)
	}
	if runtime.GOOS == "windows" { // which has no modes
		return bind(path, path)
	}
	// Made where nobody else may enter, it is never open to others, not even
	// before its mode is set. ".s/s" is shorter than its final name.
	nook := filepath.Join(dir, ".s")
	if err := os.RemoveAll(nook); err != nil {
		return nil, err
	}
	if err := os.Mkdir(nook, 0o700); err != nil {
		return nil, err
	}
	defer os.RemoveAll(nook)
	l, err := bind(filepath.Join(nook, "s"), path)
	if err != nil {
		return nil, err
	}
	if err := os.Rename(filepath.Join(nook, "s"), path); err != nil {
		l.UnixListener.Close()
		return nil, err
	}
	return l, nil
}

// listenElsewhere binds a socket in a fresh directory for temporary files, which
// nobody else may enter, and puts a link to it at path.
func listenElsewhere(path string) (*Listener, error) {
	nook, err := os.MkdirTemp("", "kad-")
	if err != nil {
		return nil, err
	}
	short := filepath.Join(nook, "s")
	if len(short) > maxPath {
		os.Remove(nook)
		return nil, fmt.Errorf("its path of %d bytes is too long for a socket, and so is that of the directory for temporary files, %q: give a shorter one", len(path), os.TempDir())
	}
	l, err := bind(short, path, short, nook)
	if err != nil {
		os.Remove(nook)
		return nil, err
	}
	if err := os.Symlink(short, path); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// bind listens at path; remove is what Close removes.
func bind(path string, remove ...string) (*Listener, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	if err := os.Chmod(path, 0o600); err != nil && runtime.GOOS != "windows" {
		l.Close()
		os.Remove(path)
		return nil, err
	}
	return &Listener{UnixListener: l, paths: remove}, nil
}

// removeOld removes what a process that crashed left at path.
func removeOld(path string) {
	if short, err := os.Readlink(path); err == nil && filepath.Base(short) == "s" && ownedAlone(filepath.Dir(short)) {
		os.Remove(short)
		os.Remove(filepath.Dir(short))
	}
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		os.Remove(path)
	}
}

// Close ends the listener and removes the socket, in this order: a client that
// comes in between is refused and takes that for no daemon.
func (l *Listener) Close() error {
	err := l.UnixListener.Close()
	l.remove.Do(func() {
		for _, p := range l.paths {
			os.Remove(p)
		}
	})
	return err
}

// dial connects to the control socket of the profile in dir. The error is
// ErrNoDaemon when nobody listens there.
func dial(ctx context.Context, dir string) (net.Conn, error) {
	path := filepath.Join(dir, socketName)
	if len(path) > maxPath {
		short, err := os.Readlink(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, ErrNoDaemon
		case err != nil:
			return nil, err
		case !ownedAlone(filepath.Dir(short)):
			return nil, ErrNoDaemon // of an earlier time; whoever made a directory there since is not believed
		}
		path = short
	}
	c, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, wsaConnRefused) {
		return nil, ErrNoDaemon
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("%s belongs to another user: %w", path, fs.ErrPermission)
	}
	return c, err
}

// wsaConnRefused is WSAECONNREFUSED, which Windows' syscall.ECONNREFUSED is not.
const wsaConnRefused = syscall.Errno(10061)
