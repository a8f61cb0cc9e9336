package quic

import (
	"errors"
	"syscall"

	"golang.org/x/sys/windows"
)

func tooLarge(err error) bool { return errors.Is(err, windows.WSAEMSGSIZE) }

// unreachable are the errors of a send to an address to which there is no way.
var unreachable = []syscall.Errno{
	windows.WSAENETUNREACH, windows.WSAEHOSTUNREACH, windows.WSAEADDRNOTAVAIL, windows.WSAEAFNOSUPPORT,
	windows.WSAEINVAL, windows.WSAEACCES,
}
