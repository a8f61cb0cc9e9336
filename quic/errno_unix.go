//go:build unix

package quic

import (
	"errors"
	"syscall"
)

func tooLarge(err error) bool { return errors.Is(err, syscall.EMSGSIZE) }

// lacksIPv6 reports whether a socket could not be opened because the system has no IPv6.
func lacksIPv6(err error) bool {
	return errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EPROTONOSUPPORT) || errors.Is(err, syscall.EADDRNOTAVAIL)
}

// unreachable are the errors of a send to an address to which there is no way.
var unreachable = []syscall.Errno{
	syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.EADDRNOTAVAIL, syscall.EAFNOSUPPORT,
	syscall.EINVAL, syscall.EACCES, syscall.EPERM,
}
