//go:build darwin || freebsd

package quic

import (
	"net"

	"golang.org/x/sys/unix"
)

const recvTOS = unix.IP_RECVTOS

// segment is 0: there are no batches on these systems.
func segment([]byte) int { return 0 }

// mark drops the ECN mark, made for IPv6, from packets to IPv4: quic-go then finds
// that the path carries none.
func mark(oob []byte, to *net.UDPAddr) []byte {
	if to.IP.To4() != nil {
		return nil
	}
	return oob
}
