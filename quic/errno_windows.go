package quic

import (
	"errors"
	"syscall"

	"golang.org/x/sys/windows"
)

func tooLarge(err error) bool { return errors.Is(err, windows.WSAEMSGSIZE) }

// lacksIPv6 reports whether a socket could not be opened because the system has no IPv6.
func lacksIPv6(err error) bool {
	return errors.Is(err, windows.WSAEAFNOSUPPORT) || errors.Is(err, windows.WSAEPROTONOSUPPORT) || errors.Is(err, windows.WSAEADDRNOTAVAIL)
}

// unreachable are the errors of a send to an address to which there is no way.
var unreachable = []syscall.Errno{
	windows.WSAENETUNREACH, windows.WSAEHOSTUNREACH, windows.WSAEADDRNOTAVAIL, windows.WSAEAFNOSUPPORT,
	windows.WSAEINVAL, windows.WSAEACCES,
}
