package quic

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// What quic-go does for a bare UDP socket it does for ours: batches (GSO), ECN,
// the DF bit, large buffers.
func TestOffloadsStayOn(t *testing.T) {
	x, y := newLoopback(t, "127.0.0.1"), newLoopback(t, "127.0.0.1")
	c, d := connect(t, x, y)
	if !c.q.ConnectionState().GSO || !d.q.ConnectionState().GSO {
		t.Error("GSO is off")
	}
	rc, err := x.c.Conn.(*net.UDPConn).SyscallConn()
	check(t, err)
	option := func(level, name int) (value int) {
		check(t, rc.Control(func(fd uintptr) { value, err = unix.GetsockoptInt(int(fd), level, name) }))
		check(t, err)
		return value
	}
	if option(unix.IPPROTO_IP, unix.IP_MTU_DISCOVER) != unix.IP_PMTUDISC_PROBE {
		t.Error("DF is off")
	}
	if option(unix.IPPROTO_IP, unix.IP_RECVTOS) != 1 {
		t.Error("ECN is not read")
	}
	if n := option(unix.SOL_SOCKET, unix.SO_RCVBUF); n < 256<<10 {
		t.Errorf("the receive buffer has %d bytes", n)
	}
}

// coalesced checks that the socket of a closed transport has met a flood, and
// known it for one.
func coalesced(t *testing.T, y *Transport) {
	t.Helper()
	if y.q.Conn.(*linuxUDP).bulk == nil {
		t.Error("a flood of 24 MiB was read packet by packet")
	}
}

func TestReadBatchEndsWithTheSocket(t *testing.T) {
	u := listenLoopback(t, "127.0.0.1")
	s := wrap(u, &witness{}, nil).(*linuxUDP)
	check(t, u.Close())
	ms := []ipv4.Message{{Buffers: [][]byte{make([]byte, 1500)}, OOB: make([]byte, 128)}}
	if n, err := s.ReadBatch(ms, 0); n != 0 || err == nil {
		t.Errorf("read %d, %v", n, err)
	}
}

// A dial to a closed port fails at once and disturbs no other dial.
func TestClosedPortFailsAtOnce(t *testing.T) {
	for _, ip := range []string{"127.0.0.1", "::1"} {
		hole := listenLoopback(t, ip)
		closed := addrPort(hole.LocalAddr())
		hole.Close()
		both, err := ListenUDP(netip.AddrPort{})
		check(t, err)
		for _, socket := range []net.PacketConn{both, listenLoopback(t, ip)} {
			x, y := start(t, newKey(t), socket), newLoopback(t, ip)
			c, d := connect(t, x, y)
			s, r := streams(t, c, d)
			for range 5 {
				begin := time.Now()
				_, err = x.Dial(t.Context(), closed, PublicOf(newKey(t).Key))
				want(t, err, ErrUnreachable)
				want(t, err, syscall.ECONNREFUSED)
				if took := time.Since(begin); took > 2*time.Second {
					t.Errorf("took %v", took)
				}
				echo(t, s, r)
			}
			connect(t, x, y)
		}
	}
}

// A host that has not seen the packet cannot report that it bounced.
func TestForgedBounce(t *testing.T) {
	x := newLoopback(t, "127.0.0.1")
	to := netip.MustParseAddrPort("192.0.2.1:1")
	ctx, cancel := context.WithCancelCause(t.Context())
	end := x.begin(to, cancel)
	packet := []byte{0xc0, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8, 9}
	x.handshakeSent(to, packet)
	forged := bytes.Clone(packet)
	forged[9]++
	for n := range len(forged) + 1 {
		x.bounced(to, forged[:n], syscall.ECONNREFUSED)
	}
	x.bounced(to, packet[:13], syscall.ECONNREFUSED)
	x.bounced(netip.MustParseAddrPort("192.0.2.1:2"), packet, syscall.ECONNREFUSED)
	if ctx.Err() != nil {
		t.Error("a forged message ended a dial")
	}
	x.bounced(to, packet[:14], syscall.ECONNREFUSED)
	want(t, context.Cause(ctx), ErrUnreachable)
	end()
	if len(x.dialing) != 0 || x.dials.Load() != 0 {
		t.Error("a dial is left over")
	}
}

// Senders are known again, and told apart.
func TestSenders(t *testing.T) {
	s := &linuxUDP{}
	six := func(port uint16, scope uint32, last byte) *unix.RawSockaddrInet6 {
		return &unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: port, Scope_id: scope, Addr: [16]byte{0: 0xfe, 1: 0x80, 15: last}}
	}
	four := func(port uint16, last byte) *unix.RawSockaddrInet6 {
		raw := six(0, 0xffffffff, 0xff) // with rubbish beyond the shorter form
		*(*unix.RawSockaddrInet4)(unsafe.Pointer(raw)) = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: port, Addr: [4]byte{192, 0, 2, last}}
		return raw
	}
	a := s.sender(four(0x3412, 1))
	if got := a.String(); got != "192.0.2.1:4660" && got != "192.0.2.1:13330" {
		t.Errorf("sender %s", got)
	}
	if s.sender(four(0x3412, 1)) != a {
		t.Error("not known again")
	}
	if n := testing.AllocsPerRun(100, func() { s.sender(four(0x3412, 1)) }); n > 1 { // the test's own
		t.Errorf("%v allocations", n)
	}
	seen := map[string]bool{}
	for port := range uint16(200) {
		for last := range byte(3) {
			seen[s.sender(four(port, last)).String()] = true
			seen[s.sender(six(port, 0, last)).String()] = true
			seen[s.sender(six(port, 7, last)).String()] = true
		}
	}
	if len(seen) != 200*3*3 {
		t.Errorf("%d senders of %d are told apart", len(seen), 200*3*3)
	}
	if z := s.sender(six(1, 7, 1)).Zone; z != "7" {
		t.Errorf("zone %q", z)
	}
}

// control makes one control message.
func control(level, kind int32, value ...byte) []byte {
	b := make([]byte, unix.CmsgSpace(len(value)))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	h.Level, h.Type = level, kind
	h.SetLen(unix.CmsgLen(len(value)))
	copy(b[unix.CmsgLen(0):], value)
	return b
}

func TestTakeSegment(t *testing.T) {
	tos := control(unix.IPPROTO_IP, unix.IP_TOS, 2)
	gro := control(unix.IPPROTO_UDP, unix.UDP_GRO, binary.NativeEndian.AppendUint32(nil, 1200)...)
	join := func(parts ...[]byte) (all []byte) {
		for _, p := range parts {
			all = append(all, p...)
		}
		return all
	}
	for _, ctl := range [][]byte{join(gro, tos), join(tos, gro)} {
		rest, size := takeSegment(ctl)
		if size != 1200 || string(rest) != string(tos) {
			t.Errorf("size %d, rest %x", size, rest)
		}
	}
	if rest, size := takeSegment(join(tos)); size != 0 || string(rest) != string(tos) {
		t.Errorf("size %d, rest %x", size, rest)
	}
	if rest, size := takeSegment(nil); size != 0 || len(rest) != 0 {
		t.Errorf("size %d, rest %x", size, rest)
	}
}

func FuzzTakeSegment(f *testing.F) {
	f.Add(control(unix.IPPROTO_UDP, unix.UDP_GRO, 1, 2, 3, 4))
	f.Add([]byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, ctl []byte) {
		n := len(ctl)
		if rest, size := takeSegment(ctl); len(rest) > n || size < 0 {
			t.Errorf("rest %x, size %d", rest, size)
		}
	})
}
