// Package filelock keeps two processes from using the same resource.
package filelock

import "errors"

// ErrLocked is what [Lock] returns when another process has the lock.
var ErrLocked = errors.New("in use by another process")
