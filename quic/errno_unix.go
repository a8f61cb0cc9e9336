//go:build unix

package quic

import (
	"errors"
	"syscall"
)

func tooLarge(err error) bool { return errors.Is(err, syscall.EMSGSIZE) }

// unreachable are the errors of a send to an address to which there is no way.
var unreachable = []syscall.Errno{
	syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.EADDRNOTAVAIL, syscall.EAFNOSUPPORT,
	syscall.EINVAL, syscall.EACCES, syscall.EPERM,
}
