package quic

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// hearICMP has the kernel keep what ICMP says about our packets in a queue of
// the socket (IP_RECVERR), beside making the next call fail.
func (s *linuxUDP) hearICMP() {
	_ = s.rc.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVERR, 1)
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1)
	})
}

// readICMP empties that queue. Any goroutine may.
func (s *linuxUDP) readICMP() {
	_ = s.rc.Control(func(fd uintptr) {
		var quote [256]byte
		var oob [256]byte
		for {
			n, oobn, _, from, err := unix.Recvmsg(int(fd), quote[:], oob[:], unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
			if err != nil {
				return
			}
			if errno := icmpError(oob[:oobn]); errno != 0 {
				s.watcher.bounced(destinationOf(from), quote[:n], errno)
			}
		}
	})
}

// icmpError finds in the control messages the ICMP errors that mean that the
// destination is unreachable. That a packet was too large does not.
func icmpError(ctl []byte) unix.Errno {
	for len(ctl) >= unix.SizeofCmsghdr {
		h, data, rest, err := unix.ParseOneSocketControlMessage(ctl)
		if err != nil {
			return 0
		}
		ctl = rest
		v4 := h.Level == unix.IPPROTO_IP && h.Type == unix.IP_RECVERR
		v6 := h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_RECVERR
		if (!v4 && !v6) || len(data) < int(unsafe.Sizeof(unix.SockExtendedErr{})) {
			continue
		}
		// struct sock_extended_err { u32 errno; u8 origin, type, code, pad; … }
		errno := unix.Errno(binary.NativeEndian.Uint32(data))
		switch origin := data[4]; {
		case origin != unix.SO_EE_ORIGIN_ICMP && origin != unix.SO_EE_ORIGIN_ICMP6:
		case errno == unix.ECONNREFUSED, errno == unix.EHOSTUNREACH, errno == unix.ENETUNREACH, errno == unix.EACCES:
			return errno
		}
	}
	return 0
}

func destinationOf(a unix.Sockaddr) netip.AddrPort {
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
	}
	return netip.AddrPort{}
}
