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
// the whole path is too long for a socket, see shortDir.
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
	short, release, err := shortDir(dir)
	if errors.Is(err, errTooLong) {
		return listenElsewhere(path)
	}
	if err != nil {
		return nil, err
	}
	defer release()
	if runtime.GOOS == "windows" { // which has no modes
		return bind(path, path)
	}
	// The socket is made in a directory that no other user may enter, so that it is
	// never open to others, not even before its mode is set. ".s/s" is shorter than
	// its final name.
	nook := filepath.Join(dir, ".s")
	if err := os.RemoveAll(nook); err != nil {
		return nil, err
	}
	if err := os.Mkdir(nook, 0o700); err != nil {
		return nil, err
	}
	defer os.RemoveAll(nook)
	l, err := bind(filepath.Join(short, ".s", "s"), path)
	if err != nil {
		return nil, err
	}
	if err := os.Rename(filepath.Join(nook, "s"), path); err != nil {
		l.UnixListener.Close()
		return nil, err
	}
	return l, nil
}

// errTooLong is returned by shortDir when no short name for a directory exists.
var errTooLong = errors.New("path too long for a socket")

// shortDir returns a name of dir that leaves room for socketName. The name is dir
// itself where that is short enough. On Linux a longer directory is opened and
// named by its descriptor, /proc/self/fd/N, until release is called: so the socket
// stays inside the profile, where a daemon with a private /tmp (systemd's
// PrivateTmp) and its clients both find it. Elsewhere the error is errTooLong.
func shortDir(dir string) (short string, release func(), err error) {
	if len(filepath.Join(dir, socketName)) <= maxPath {
		return dir, func() {}, nil
	}
	if runtime.GOOS != "linux" {
		return "", nil, errTooLong
	}
	d, err := os.Open(dir)
	if err != nil {
		return "", nil, err
	}
	short = fmt.Sprintf("/proc/self/fd/%d", d.Fd())
	if _, err := os.Stat(short); err != nil { // no /proc
		d.Close()
		return "", nil, errTooLong
	}
	return short, func() { d.Close() }, nil
}

// listenElsewhere binds a socket in a new directory below privateTemp, and puts a
// link to it at path.
func listenElsewhere(path string) (*Listener, error) {
	base, err := privateTemp()
	if err != nil {
		return nil, fmt.Errorf("its path of %d bytes is too long for a socket: %w", len(path), err)
	}
	nook, err := os.MkdirTemp(base, "kad-")
	if err != nil {
		return nil, err
	}
	short := filepath.Join(nook, "s")
	if len(short) > maxPath {
		os.Remove(nook)
		return nil, fmt.Errorf("its path of %d bytes is too long for a socket, and so is %q: choose a shorter profile path", len(path), short)
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

// privateTemp returns a directory for temporary files that only this user may
// enter: $XDG_RUNTIME_DIR, or the system's temporary directory where each user has
// one, as on macOS. A shared /tmp is none.
func privateTemp() (string, error) {
	for _, dir := range []string{os.Getenv("XDG_RUNTIME_DIR"), os.TempDir()} {
		if filepath.IsAbs(dir) && ownedAlone(dir) {
			return dir, nil
		}
	}
	return "", errors.New("choose a shorter profile path, or set XDG_RUNTIME_DIR to a directory that only you may enter")
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
// ErrNoDaemon when no process listens there.
func dial(ctx context.Context, dir string) (net.Conn, error) {
	path := filepath.Join(dir, socketName)
	var at string
	if target, err := os.Readlink(path); err == nil {
		if !ownedAlone(filepath.Dir(target)) {
			return nil, ErrNoDaemon // a crashed daemon's link; another user may have made the directory since
		}
		at = target
	} else {
		short, release, err := shortDir(dir)
		if err != nil {
			return nil, dialError(path, err)
		}
		defer release()
		at = filepath.Join(short, socketName)
	}
	c, err := new(net.Dialer).DialContext(ctx, "unix", at)
	if err != nil {
		return nil, dialError(path, err)
	}
	return c, nil
}

// dialError says what err, met on the way to the socket at path, means.
func dialError(path string, err error) error {
	if errors.Is(err, errTooLong) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, wsaConnRefused) {
		return ErrNoDaemon
	}
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%s belongs to another user: %w", path, fs.ErrPermission)
	}
	return err
}

// wsaConnRefused is WSAECONNREFUSED, which Windows' syscall.ECONNREFUSED is not.
const wsaConnRefused = syscall.Errno(10061)
