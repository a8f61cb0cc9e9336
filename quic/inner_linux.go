package quic

import (
	"encoding/binary"
	"net"

	"golang.org/x/sys/unix"
)

const recvTOS = unix.IP_TOS

// segment finds the size of the packets of a batch to be sent, 0 if it is none.
func segment(oob []byte) (size int) {
	cmsgs(oob, func(h *unix.Cmsghdr, data []byte) bool {
		if h.Level == unix.IPPROTO_UDP && h.Type == unix.UDP_SEGMENT && len(data) == 2 {
			size = int(binary.NativeEndian.Uint16(data))
		}
		return true
	})
	return size
}

// mark changes the ECN mark in the control messages to what fits the address: to
// quic-go all names are IPv6. Both forms take the same room.
func mark(oob []byte, to *net.UDPAddr) []byte {
	four := to.IP.To4() != nil
	cmsgs(oob, func(h *unix.Cmsghdr, data []byte) bool {
		switch {
		case four && h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_TCLASS && len(data) == 4:
			ecn := binary.NativeEndian.Uint32(data)
			h.Level, h.Type = unix.IPPROTO_IP, unix.IP_TOS
			h.SetLen(unix.CmsgLen(1))
			data[0] = byte(ecn)
		case !four && h.Level == unix.IPPROTO_IP && h.Type == unix.IP_TOS && len(data) == 1:
			ecn := data[0]
			h.Level, h.Type = unix.IPPROTO_IPV6, unix.IPV6_TCLASS
			h.SetLen(unix.CmsgLen(4))
			binary.NativeEndian.PutUint32(data[:4], uint32(ecn))
		}
		return true
	})
	return oob
}
