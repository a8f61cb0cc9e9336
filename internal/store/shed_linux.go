package store

import "golang.org/x/sys/unix"

// shed tells the system that the mapped pages need not count as this process's
// memory. They stay in the page cache, and the next read of one costs a minor fault.
// The caller is in a transaction, so that the mapping stays.
func shed(at uintptr, size int64) {
	unix.Syscall(unix.SYS_MADVISE, at, uintptr(size), unix.MADV_DONTNEED) // advice: if it fails, so be it
}
