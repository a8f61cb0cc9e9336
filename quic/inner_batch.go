//go:build linux || darwin || freebsd

package quic

import (
	"encoding/binary"
	"errors"
	"net"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// innerBatch is inner above a UDP socket: quic-go writes batches and marks (ECN)
// to it.
type innerBatch struct {
	*inner
	sys   func() (syscall.RawConn, error)
	sized atomic.Int32 // as udp.sized
}

// socket returns s as quic-go should see it.
func (s *inner) socket() net.PacketConn {
	out, ok := s.p.out.(interface {
		batchWriter
		ReadBatch([]ipv4.Message, int) (int, error)
		SyscallConn() (syscall.RawConn, error)
	})
	if !ok {
		return s
	}
	return &innerBatch{inner: s, sys: out.SyscallConn}
}

// ReadBatch waits for packets. The only thing told of each beside its sender is
// its mark: the address that it came to, which quic-go would send from, is of a
// path that may end.
func (s *innerBatch) ReadBatch(ms []ipv4.Message, _ int) (int, error) {
	q, err := s.get()
	if err != nil {
		return 0, err
	}
	for n := range ms {
		m := &ms[n]
		m.N, m.NN, m.Flags, m.Addr = copy(m.Buffers[0], q.b[:q.n]), 0, 0, q.from
		if q.ecn != 0 && len(m.OOB) >= unix.CmsgSpace(4) {
			m.NN = putMark(m.OOB, q.ecn)
		}
		q.free()
		if n+1 == len(ms) {
			break
		}
		select {
		case q = <-s.queue:
		default:
			return n + 1, nil
		}
	}
	return len(ms), nil
}

func (s *innerBatch) WriteMsgUDP(b, oob []byte, to *net.UDPAddr) (n, oobn int, err error) {
	size := segment(oob)
	if size == 0 {
		size = len(b)
	}
	return len(b), len(oob), s.p.send(b, oob, max(size, 1), to)
}

// ReadMsgUDP is never called: quic-go reads batches.
func (s *innerBatch) ReadMsgUDP(_, _ []byte) (n, oobn, flags int, addr *net.UDPAddr, err error) {
	return 0, 0, 0, nil, errors.ErrUnsupported
}

func (s *innerBatch) SetReadBuffer(int) error  { s.sized.Add(1); return nil }
func (s *innerBatch) SetWriteBuffer(int) error { s.sized.Add(1); return nil }

func (s *innerBatch) SyscallConn() (syscall.RawConn, error) {
	if s.sized.Load() < 2 {
		return nil, errNotYet
	}
	return s.sys()
}

// sift shows the first n messages to the paths, and closes the gaps of those they
// took; the buffers stay where they are, as quic-go remembers each one's place.
func (p *paths) sift(ms []ipv4.Message, n int) (kept int) {
	for i := range n {
		m := &ms[i]
		if b := m.Buffers[0][:m.N]; !isShortHeader(b) {
			if from, ok := m.Addr.(*net.UDPAddr); ok && p.take(nil, addrPort(from), b, markOf(m.OOB[:m.NN])) {
				continue
			}
		}
		if kept < i {
			k := &ms[kept]
			k.N = copy(k.Buffers[0], m.Buffers[0][:m.N])
			k.NN = copy(k.OOB, m.OOB[:m.NN])
			k.Flags, k.Addr = m.Flags, m.Addr
		}
		kept++
	}
	return kept
}

// cmsgs calls f for each control message until it returns false.
func cmsgs(ctl []byte, f func(h *unix.Cmsghdr, data []byte) bool) {
	for len(ctl) >= unix.CmsgLen(0) {
		h := (*unix.Cmsghdr)(unsafe.Pointer(unsafe.SliceData(ctl)))
		n := int(h.Len)
		if n < unix.CmsgLen(0) || n > len(ctl) || !f(h, ctl[unix.CmsgLen(0):n]) {
			return
		}
		ctl = ctl[min(unix.CmsgSpace(n-unix.CmsgLen(0)), len(ctl)):]
	}
}

// markOf finds the ECN bits (RFC 3168 §5) in the control messages of a packet.
func markOf(ctl []byte) (ecn byte) {
	cmsgs(ctl, func(h *unix.Cmsghdr, data []byte) bool {
		switch {
		case len(data) == 1 && h.Level == unix.IPPROTO_IP && h.Type == recvTOS:
			ecn = data[0] & 3
		case len(data) == 4 && h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_TCLASS:
			ecn = byte(binary.NativeEndian.Uint32(data)) & 3
		}
		return true
	})
	return ecn
}

// putMark writes them as one control message.
func putMark(oob []byte, ecn byte) int {
	h := (*unix.Cmsghdr)(unsafe.Pointer(unsafe.SliceData(oob)))
	h.Level, h.Type = unix.IPPROTO_IPV6, unix.IPV6_TCLASS
	h.SetLen(unix.CmsgLen(4))
	binary.NativeEndian.PutUint32(oob[unix.CmsgLen(0):], uint32(ecn))
	return unix.CmsgSpace(4)
}
