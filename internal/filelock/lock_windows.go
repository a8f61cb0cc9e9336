package filelock

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// Lock locks the file at path by opening it without sharing. It makes the file if there is none.
// Windows closes it with the process.
func Lock(path string) (unlock func(), err error) {
	const sharingViolation = syscall.Errno(32)
	name, err := syscall.UTF16PtrFromString(path)
	if err != nil {
		return nil, &os.PathError{Op: "lock", Path: path, Err: err}
	}
	h, err := syscall.CreateFile(name, syscall.GENERIC_READ|syscall.GENERIC_WRITE, 0, nil,
		syscall.OPEN_ALWAYS, syscall.FILE_ATTRIBUTE_NORMAL, 0)
	if err != nil {
		if errors.Is(err, sharingViolation) {
			return nil, fmt.Errorf("%s: %w", path, ErrLocked)
		}
		return nil, &os.PathError{Op: "lock", Path: path, Err: err}
	}
	return func() { syscall.CloseHandle(h) }, nil
}
