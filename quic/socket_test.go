package quic

import (
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// A flaky socket fails to send, with an error, while it has one.
type flaky struct {
	net.PacketConn
	err atomic.Pointer[error]
}

func (f *flaky) WriteTo(b []byte, to net.Addr) (int, error) {
	if err := f.err.Load(); err != nil {
		return 0, *err
	}
	return f.PacketConn.WriteTo(b, to)
}

func (f *flaky) fail(err error) { f.err.Store(&err) }

// A network that is away for a while costs a gap, not the connection.
func TestTransientErrorsAreLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 10*time.Millisecond)
		f := &flaky{PacketConn: s.listen()}
		x, y := start(t, newKey(t), f), s.transport()
		c, d := connect(t, x, y)
		w, r := streams(t, c, d)
		for _, err := range []error{syscall.ENETUNREACH, syscall.EPERM, syscall.ENOBUFS, errors.New("out of luck")} {
			f.fail(&net.OpError{Op: "write", Err: err})
			_, werr := w.Write([]byte("fresh, and in order"))
			check(t, werr)
			time.Sleep(3 * time.Second)
			f.err.Store(nil)
			b := make([]byte, 19)
			_, rerr := r.Read(b)
			check(t, rerr)
		}
		if c.Err() != nil {
			t.Error(c.Err())
		}
		key := PublicOf(newKey(t).Key)
		f.fail(syscall.ENETUNREACH)
		begin := time.Now()
		_, err := x.Dial(t.Context(), y.LocalAddr(), key)
		want(t, err, ErrUnreachable)
		want(t, err, syscall.ENETUNREACH)
		f.fail(syscall.ENOBUFS)
		_, err = x.Dial(t.Context(), y.LocalAddr(), key)
		want(t, err, ErrTimeout)
		if took := time.Since(begin); took != 5*time.Second {
			t.Errorf("took %v", took)
		}
		f.err.Store(nil)
	})
}

// quic-go must hear of packets that are too large, and of the socket's end.
func TestFinalErrorsPass(t *testing.T) {
	for err, passes := range map[error]bool{
		syscall.EMSGSIZE:    true,
		net.ErrClosed:       true,
		syscall.ENETUNREACH: false,
		syscall.EPERM:       false,
	} {
		f := &flaky{}
		f.fail(&net.OpError{Op: "write", Err: err})
		var w witness
		n, got := wrap(f, &w, nil).WriteTo(make([]byte, 10), &net.UDPAddr{})
		if passes != errors.Is(got, err) || passes != (w.err == nil) || (!passes && n != 10) {
			t.Errorf("%v: %d, %v; heard %v", err, n, got, w.err)
		}
	}
}

// A witness remembers what it last heard.
type witness struct{ err error }

func (w *witness) sendFailed(_ netip.AddrPort, err error)        { w.err = err }
func (w *witness) handshakeSent(netip.AddrPort, []byte)          {}
func (w *witness) bounced(_ netip.AddrPort, _ []byte, err error) { w.err = err }

// A path whose MTU is the least that IPv6 promises carries connections.
func TestSmallPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 10*time.Millisecond)
		s.mtu = 1280 - 48
		x, y := s.transport(), s.transport()
		c, d := connect(t, x, y)
		w, r := streams(t, c, d)
		go func() { _, _ = w.Write(make([]byte, 1<<20)) }()
		for n := 0; n < 1<<20; {
			k, err := r.Read(make([]byte, 32<<10))
			check(t, err)
			n += k
		}
	})
}

func TestListenUDP(t *testing.T) {
	for addr, wants := range map[string]string{
		"":            "::",
		"[::]:0":      "::",
		"0.0.0.0:0":   "0.0.0.0",
		"127.0.0.1:0": "127.0.0.1",
	} {
		var ap netip.AddrPort
		if addr != "" {
			ap = netip.MustParseAddrPort(addr)
		}
		socket, err := ListenUDP(ap)
		check(t, err)
		defer socket.Close()
		got := addrPort(socket.LocalAddr())
		if ip := got.Addr().String(); (ip != wants && (wants != "::" || ip != "0.0.0.0")) || got.Port() == 0 {
			t.Errorf("%q listens on %v", addr, got)
		}
		if _, err := ListenUDP(got); err == nil {
			t.Errorf("%q: two listen on %v", addr, got)
		}
	}
}
