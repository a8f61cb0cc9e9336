//go:build !windows

package control

import (
	"os"
	"syscall"
)

// ownedAlone reports whether dir is a directory of this user that no other user may
// enter.
func ownedAlone(dir string) bool {
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() || info.Mode().Perm()&0o077 != 0 {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Geteuid()
}
