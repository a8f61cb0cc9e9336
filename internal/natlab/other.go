//go:build !linux

package natlab

import (
	"errors"
	"os"
	"syscall"
)

// A lab needs Linux. On other systems New skips the test.

func unshareNet() (*os.File, error)      { return nil, errors.ErrUnsupported }
func inNet(*os.File, func() error) error { return errors.ErrUnsupported }
func openTUN(string) (*os.File, error)   { return nil, errors.ErrUnsupported }
func flushConntrack() error              { return errors.ErrUnsupported }
func dieWithUs() *syscall.SysProcAttr    { return nil }
func killAllIn([]*namespace)             {}
func sweep()                             {}
func owner() string                      { return "" }

const ownerVariable = ""
