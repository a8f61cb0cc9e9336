package store

import (
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
