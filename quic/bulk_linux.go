package quic

import (
	"encoding/binary"
	"net"
	"syscall"
	"unsafe"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

const (
	bulkAfter = 64 // full batches, less the others, that make a flood
	bulkBatch = 4  // messages in one read, each of up to bulkSize bytes
	bulkSize  = 64 << 10
	bulkOOB   = 256
)

// bulk reads a flood: the kernel hands over a run of packets from one sender as
// one message with their common size (UDP_GRO, Linux 5.0), which costs it, and
// us, a fraction of one message each. The price is a copy of every packet and
// 256 KiB of buffers, so a socket switches to it only when packets arrive
// faster than it can read them, and does not switch back.
type bulk struct {
	data [bulkBatch][]byte
	oob  [bulkBatch][bulkOOB]byte

	// The messages read, and the one being cut.
	count, next int
	rest, ctl   []byte
	size        int
	addr        *net.UDPAddr
}

// newBulk turns coalescing on, or returns nil where there is none.
func newBulk(rc syscall.RawConn) *bulk {
	var err error
	if e := rc.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_GRO, 1)
	}); e != nil || err != nil {
		return nil
	}
	b := &bulk{}
	memory := make([]byte, bulkBatch*bulkSize)
	for i := range b.data {
		b.data[i] = memory[i*bulkSize : (i+1)*bulkSize : (i+1)*bulkSize]
	}
	return b
}

// offer points the headers at our own buffers.
func (b *bulk) offer(s *linuxUDP) {
	s.count = bulkBatch
	for i := range b.data {
		s.point(i, b.data[i], b.oob[i][:])
	}
}

// cut fills ms with the packets already read and returns how many; 0 means that
// the caller must read more.
func (b *bulk) cut(s *linuxUDP, ms []ipv4.Message) int {
	for n := range ms {
		if len(b.rest) == 0 && !b.open(s) {
			return n
		}
		p := b.rest[:min(b.size, len(b.rest))]
		b.rest = b.rest[len(p):]
		m := &ms[n]
		m.N = copy(m.Buffers[0], p)
		m.NN = 0
		if len(b.ctl) <= len(m.OOB) {
			m.NN = copy(m.OOB, b.ctl)
		}
		m.Flags = 0
		m.Addr = b.addr
	}
	return len(ms)
}

// open turns to the next message with anything in it.
func (b *bulk) open(s *linuxUDP) bool {
	for b.next < b.count {
		i := b.next
		b.next++
		h := &s.hdrs[i]
		if h.len == 0 {
			continue
		}
		b.rest = b.data[i][:h.len]
		b.ctl, b.size = takeSegment(b.oob[i][:h.hdr.Controllen])
		if b.size == 0 {
			b.size = len(b.rest)
		}
		b.addr = s.sender(&s.names[i])
		return true
	}
	return false
}

// takeSegment finds the size of the packets in a coalesced message, 0 if it is
// but one, and returns the control messages without it: quic-go's room for them
// is short.
func takeSegment(ctl []byte) (rest []byte, size int) {
	const head = unix.SizeofCmsghdr
	for at := 0; at+head <= len(ctl); {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&ctl[at]))
		n := int(h.Len)
		if n < head || n > len(ctl)-at {
			return ctl, 0
		}
		next := min(at+unix.CmsgSpace(n-unix.CmsgLen(0)), len(ctl))
		if h.Level == unix.IPPROTO_UDP && h.Type == unix.UDP_GRO && n >= unix.CmsgLen(2) {
			// An int since it was made, though documented as 16 bits.
			value := ctl[at+unix.CmsgLen(0) : at+n]
			if len(value) >= 4 {
				size = int(binary.NativeEndian.Uint32(value))
			} else {
				size = int(binary.NativeEndian.Uint16(value))
			}
			return append(ctl[:at], ctl[next:]...), max(size, 0)
		}
		at = next
	}
	return ctl, 0
}
