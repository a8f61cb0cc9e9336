package store

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/kadquic/kadquic/wire"
)

// The reasons for which a file is not opened. They are wrapped with the path and advice.
var (
	ErrLocked  = errors.New("store is in use by another process")
	ErrDamaged = errors.New("store is damaged")
	ErrForeign = errors.New("not a store of this program")
)

// A DamagedError describes the damage of a store's file. It is an ErrDamaged.
type DamagedError struct {
	Path   string
	Page   int64 // of the database; -1 if it is none in particular
	Reason string
}

func (e *DamagedError) Error() string {
	where := ""
	if e.Page >= 0 {
		where = fmt.Sprintf("page %d: ", e.Page)
	}
	return fmt.Sprintf("%v: %q: %s%s; what is readable is saved by: kad doctor --salvage", ErrDamaged, e.Path, where, e.Reason)
}

func (e *DamagedError) Is(target error) bool { return target == ErrDamaged }

// A ReadOnlyError says that the disk could not be written. It is a
// wire.CodeReadOnly, and wraps the cause.
type ReadOnlyError struct {
	Path string
	Err  error
}

func (e *ReadOnlyError) Error() string   { return fmt.Sprintf("cannot write to %q: %v", e.Path, e.Err) }
func (e *ReadOnlyError) Unwrap() []error { return []error{wire.CodeReadOnly, e.Err} }

// A panicError is a panic of bbolt's, or a fault in the pages it maps.
type panicError struct{ value any }

func (e *panicError) Error() string { return fmt.Sprintf("panic in the database: %v", e.value) }

// guard calls f, which touches the database's pages, and turns a panic, or the fault of an
// unreadable page (the file was truncated, the disk failed), into a *panicError. bbolt checks
// little of its input.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // it is the goroutine's own
	defer func() {
		if r := recover(); r != nil {
			err = &panicError{r}
		}
	}()
	return f()
}
