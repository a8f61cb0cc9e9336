package store

import (
	"testing"
	"time"
)

// mustOpen opens the store of the node at the zero key.
func mustOpen(t interface {
	Helper()
	Fatal(...any)
}, path string, l Limits, now time.Time) *Disk {
	t.Helper()
	d, err := Open(path, Options{Limits: l, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// withoutSync spares a test in which no machine crashes the waiting for the disk.
func withoutSync(t testing.TB) {
	noSync = true
	t.Cleanup(func() { noSync = false })
}
