package quic

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

const (
	batchSize = 8  // messages in one recvmmsg; quic-go asks for as many
	addrSlots = 64 // remembered senders
)

// linuxUDP reads batches by itself. Against x/net's ReadBatch, which quic-go
// would use, it saves two allocations a packet by knowing senders again, and it
// can let the kernel coalesce a flood (UDP_GRO).
type linuxUDP struct {
	*udp
	rc   syscall.RawConn
	read func(fd uintptr) bool // recv, bound once

	// What follows belongs to the one goroutine that reads.
	hdrs  [batchSize]mmsghdr
	iovs  [batchSize]unix.Iovec
	names [batchSize]unix.RawSockaddrInet6
	count int           // how many of hdrs to offer, then how many were filled
	errno syscall.Errno // why none
	addrs [addrSlots]sender
	full  int   // full batches less others, 0 to bulkAfter
	bulk  *bulk // once there was a flood
}

type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// A sender is an address as the kernel says it, and as quic-go wants it. quic-go
// keeps the latter and never changes it.
type sender struct {
	endpoint
	addr *net.UDPAddr
}

type endpoint struct {
	ip    [16]byte // IPv4 in mapped form
	scope uint32
	port  uint16
}

func wrapUDP(u *udp) net.PacketConn {
	s := &linuxUDP{udp: u}
	var err error
	if s.rc, err = u.UDPConn.SyscallConn(); err != nil {
		return u
	}
	s.read = s.recv
	for i := range s.hdrs {
		h := &s.hdrs[i].hdr
		h.Name = (*byte)(unsafe.Pointer(&s.names[i]))
		h.Iov = &s.iovs[i]
		h.SetIovlen(1)
	}
	s.hearICMP()
	return s
}

// WriteMsgUDP is udp's, and listens to what ICMP says of handshakes.
func (s *linuxUDP) WriteMsgUDP(b, oob []byte, to *net.UDPAddr) (n, oobn int, err error) {
	if len(b) > 0 && b[0]&0x80 != 0 {
		s.watcher.handshakeSent(addrPort(to), b)
	}
	if n, oobn, err = s.UDPConn.WriteMsgUDP(b, oob, to); err != nil {
		s.readICMP() // it may be why, for an earlier packet
		return s.retry(b, oob, to, err)
	}
	return n, oobn, nil
}

// ReadBatch waits for packets. It returns at least one, or an error that lasts:
// quic-go would take a stale slot for a packet else.
func (s *linuxUDP) ReadBatch(ms []ipv4.Message, _ int) (int, error) {
	for failures := 0; ; failures++ {
		for s.bulk != nil {
			n := s.bulk.cut(s, ms)
			if n == 0 {
				break
			}
			if n = s.sift(ms, n); n > 0 {
				return n, nil
			}
		}
		if s.bulk != nil {
			s.bulk.offer(s)
		} else {
			s.offer(ms)
		}
		s.errno = 0
		err := s.rc.Read(s.read)
		switch {
		case errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded):
			return 0, err
		case err == nil && s.errno == 0:
			if n := s.sift(ms, s.deliver(ms)); n > 0 {
				return n, nil
			}
			failures = 0
			continue
		}
		switch s.errno {
		case unix.EBADF, unix.ENOTSOCK, unix.EINVAL, unix.EFAULT:
			return 0, &net.OpError{Op: "read", Net: "udp", Source: s.LocalAddr(), Err: s.errno}
		}
		s.readICMP()
		if failures > 10 { // memory is short, say
			time.Sleep(time.Millisecond)
		}
	}
}

// sift leaves to quic-go what the paths do not take of n messages.
func (s *linuxUDP) sift(ms []ipv4.Message, n int) int {
	if s.paths == nil {
		return n
	}
	return s.paths.sift(ms, n)
}

// offer points the headers at quic-go's buffers.
func (s *linuxUDP) offer(ms []ipv4.Message) {
	s.count = min(len(ms), batchSize)
	for i := range s.count {
		s.point(i, ms[i].Buffers[0], ms[i].OOB)
	}
}

func (s *linuxUDP) point(i int, data, oob []byte) {
	h := &s.hdrs[i].hdr
	s.iovs[i].Base = unsafe.SliceData(data)
	s.iovs[i].SetLen(len(data))
	h.Namelen = unix.SizeofSockaddrInet6
	h.Control = unsafe.SliceData(oob)
	h.SetControllen(len(oob))
}

// recv is run by the poller: false means wait for more.
func (s *linuxUDP) recv(fd uintptr) bool {
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&s.hdrs[0])), uintptr(s.count), 0, 0, 0)
		switch s.errno = errno; errno {
		case 0:
			s.count = int(n)
			return true
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return false
		}
		return true
	}
}

// deliver hands over what recv has read.
func (s *linuxUDP) deliver(ms []ipv4.Message) int {
	if b := s.bulk; b != nil {
		b.count, b.next = s.count, 0
		return b.cut(s, ms)
	}
	for i := range s.count {
		h := &s.hdrs[i]
		ms[i].N = int(h.len)
		ms[i].NN = int(h.hdr.Controllen)
		if h.hdr.Flags&unix.MSG_CTRUNC != 0 {
			ms[i].NN = 0 // quic-go would give up the socket over half a message
		}
		ms[i].Flags = int(h.hdr.Flags)
		ms[i].Addr = s.sender(&s.names[i])
	}
	if s.count < batchSize {
		s.full = max(s.full-1, 0)
	} else if s.full++; s.full == bulkAfter {
		s.bulk = newBulk(s.rc)
	}
	return s.count
}

// sender finds or makes the address in raw. Slots are few and simply overwritten:
// a miss costs one allocation.
func (s *linuxUDP) sender(raw *unix.RawSockaddrInet6) *net.UDPAddr {
	e := endpointOf(raw)
	slot := &s.addrs[(e.port^e.port>>8^uint16(e.ip[15])^uint16(e.ip[7])<<3)%addrSlots]
	if slot.addr == nil || slot.endpoint != e {
		*slot = sender{endpoint: e, addr: e.udpAddr()}
	}
	return slot.addr
}

func endpointOf(raw *unix.RawSockaddrInet6) (e endpoint) {
	port := (*[2]byte)(unsafe.Pointer(&raw.Port)) // in network order
	e.port = binary.BigEndian.Uint16(port[:])
	if raw.Family == unix.AF_INET {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(raw)).Addr
		e.ip = [16]byte{10: 0xff, 11: 0xff, 12: v4[0], 13: v4[1], 14: v4[2], 15: v4[3]}
		return e
	}
	e.ip, e.scope = raw.Addr, raw.Scope_id
	return e
}

func (e *endpoint) udpAddr() *net.UDPAddr {
	a := &struct { // one allocation for both
		net.UDPAddr
		ip [16]byte
	}{ip: e.ip}
	a.IP, a.Port = a.ip[:], int(e.port)
	if v4 := a.IP.To4(); v4 != nil {
		a.IP = v4
	}
	if e.scope != 0 {
		a.Zone = strconv.Itoa(int(e.scope))
	}
	return &a.UDPAddr
}

// enlarge goes beyond the system's limit where the process may.
func enlarge(u *net.UDPConn, receive bool, n int) {
	option, force := unix.SO_SNDBUF, unix.SO_SNDBUFFORCE
	if receive {
		option, force = unix.SO_RCVBUF, unix.SO_RCVBUFFORCE
	}
	rc, err := u.SyscallConn()
	if err != nil {
		return
	}
	_ = rc.Control(func(fd uintptr) {
		if has, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, option); err == nil && has < n {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, force, n)
		}
	})
}
