//go:build unix && !aix && !illumos && !solaris

package store

import (
	"errors"
	"os"
	"syscall"
)

// tryLock locks f as bbolt does, and reports whether it could. bbolt's own lock of
// the same file handle then changes nothing.
func tryLock(f *os.File, exclusive bool) (bool, error) {
	how := syscall.LOCK_SH
	if exclusive {
		how = syscall.LOCK_EX
	}
	err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

// passLock is called right before bbolt locks f.
func passLock(*os.File) error { return nil }
