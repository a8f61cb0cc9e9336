package quic

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	quicgo "github.com/quic-go/quic-go"
)

func TestPerAddressLimits(t *testing.T) {
	n := &counts{maxPending: 64, maxIn: 512, from: map[netip.Prefix]int{}}
	fill := func(from netip.Addr) (k int) {
		for n.mayOpen(from) {
			n.opened(from)
			k++
		}
		for range k {
			n.closed(from)
		}
		return k
	}
	one := netip.MustParseAddr("192.0.2.1")
	if k := fill(one); k != 256 {
		t.Errorf("below half occupancy one address got %d connections, want half of all", k)
	}
	n.in = 256
	if k := fill(one); k != 8 {
		t.Errorf("one address got %d, want 8", k)
	}
	for range 8 {
		n.opened(one)
		n.opened(netip.MustParseAddr("192.0.2.2"))
	}
	if n.mayOpen(netip.MustParseAddr("192.0.2.3")) {
		t.Error("a 17th from one /24")
	}
	if !n.mayOpen(netip.MustParseAddr("192.0.3.1")) {
		t.Error("the next /24 is punished too")
	}

	six := netip.MustParseAddr("2001:db8::1")
	if k := fill(six); k != 4 {
		t.Errorf("one /64 got %d, want 4", k)
	}
	for range 4 {
		n.opened(six)
		n.opened(netip.MustParseAddr("2001:db8:0:1::1"))
	}
	if n.mayOpen(netip.MustParseAddr("2001:db8:0:2::1")) {
		t.Error("a 9th from one /56")
	}

	n.in = 256
	if k := fill(netip.MustParseAddr("::1")); k != 512+64-256 {
		t.Errorf("loopback got %d", k)
	}
}

func TestPendingLimits(t *testing.T) {
	n := &counts{maxPending: 64, maxIn: 512, from: map[netip.Prefix]int{}}
	a, local := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("127.0.0.1")
	begun, proved := 0, 0
	for n.mayBegin(a) {
		if n.mustProve(a) {
			proved++
		}
		n.begun(a)
		begun++
	}
	if begun != 64 || proved != 32 {
		t.Errorf("%d handshakes, of them %d after Retry; want 64 and 32", begun, proved)
	}
	if !n.mayBegin(local) || n.mustProve(local) {
		t.Error("loopback is held up by strangers")
	}
	n.settled(a)
	if !n.mayBegin(a) {
		t.Error("a place that is free again is not given")
	}
}

// However many peers a relay makes up, others can call.
func TestPendingByRelay(t *testing.T) {
	n := &counts{maxPending: 64, maxIn: 512, from: map[netip.Prefix]int{}}
	p := paths{}
	var begun []netip.Addr
	for i := range 1000 {
		a := p.nameOf(PublicKey{byte(i), byte(i >> 8)}).Addr()
		if n.mayBegin(a) {
			n.begun(a)
			begun = append(begun, a)
		}
	}
	if len(begun) != 32 || !n.mayBegin(netip.MustParseAddr("192.0.2.1")) {
		t.Errorf("%d handshakes by relay, want 32 and room for others", len(begun))
	}
	for _, a := range begun {
		n.settled(a)
	}
	if n.pending != 0 || n.relayed != 0 {
		t.Errorf("%+v are left", n)
	}
}

// Handshakes that are not completed are refused beyond the limit, cost Retry above
// half of it, and their slots are free again after the handshake timeout.
func TestHandshakeFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, time.Millisecond)
		y := s.transport()
		flood := s.listen()
		defer flood.Close()
		initial := captureInitial(t, s)
		for i := range 200 {
			b := append([]byte(nil), initial...)
			b[6], b[7] = byte(i), 0xff // another connection ID; the decrypted content does not matter
			_, err := flood.WriteTo(b, y.c.Conn.LocalAddr())
			check(t, err)
			time.Sleep(time.Millisecond)
		}
		if n := pendingOf(y); n != 32 {
			t.Errorf("%d handshakes are pending for one who proves nothing, want 32", n)
		}
		// A real peer still gets in, by Retry.
		connect(t, s.transport(), y)
		time.Sleep(6 * time.Second)
		if n := pendingOf(y); n != 0 {
			t.Errorf("%d are still pending", n)
		}
	})
}

func pendingOf(t *Transport) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.counts.pending
}

// captureInitial returns the first packet of a dial to nowhere.
func captureInitial(t *testing.T, s *sim) []byte {
	t.Helper()
	x, hole := s.transport(), s.listen()
	defer hole.Close()
	go func() { _, _ = x.Dial(t.Context(), addrPort(hole.LocalAddr()), PublicOf(newKey(t).Key)) }()
	b := make([]byte, 1500)
	n, _, err := hole.ReadFrom(b)
	check(t, err)
	return b[:n]
}

// The last of too many is told so, as ErrBusy.
func TestConnectionLimit(t *testing.T) {
	c := newKey(t)
	c.MaxIn, c.MaxPending = 2, 1
	y, x := start(t, c, listenLoopback(t, "127.0.0.1")), newLoopback(t, "127.0.0.1")
	var accepted []*Conn
	for range 3 {
		_, d := connect(t, x, y)
		accepted = append(accepted, d)
	}
	_, err := x.Dial(t.Context(), y.LocalAddr(), y.PublicKey())
	want(t, err, ErrBusy)
	gone := make(chan struct{})
	accepted[0].whenEnded(func() { close(gone) })
	check(t, accepted[0].Close(0, ""))
	<-gone
	connect(t, x, y)
}

func TestStreamLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, time.Millisecond)
		config := newKey(t)
		config.MaxStreams = 3
		c, d := connect(t, s.transport(), start(t, config, s.listen()))
		for range 3 {
			streams(t, c, d)
		}
		opened := make(chan error)
		go func() {
			_, err := c.OpenStream(t.Context())
			opened <- err
		}()
		synctest.Wait()
		select {
		case <-opened:
			t.Error("a fourth stream")
		default:
		}
		check(t, c.Close(0, ""))
		want(t, <-opened, net.ErrClosed)
	})
}

// The windows of all connections grow under one budget.
func TestWindowBudget(t *testing.T) {
	for _, limit := range []int64{connWindow + 1000, 64 << 20} {
		config := newKey(t)
		config.WindowBudget = limit
		x, y := newLoopback(t, "127.0.0.1"), start(t, config, listenLoopback(t, "127.0.0.1"))
		c, d := connect(t, x, y)
		grows := limit > connWindow+1000
		for until := time.Now().Add(time.Minute); ; { // a busy machine reads too slowly at times for a window to grow
			s, r := streams(t, c, d)
			go func() {
				_, _ = s.Write(make([]byte, 4<<20))
				_ = s.CloseWrite()
			}()
			n, err := io.Copy(io.Discard, r)
			check(t, err)
			if n != 4<<20 {
				t.Errorf("%d bytes came", n)
			}
			if !grows || d.window.Load() > connWindow || time.Now().After(until) {
				break
			}
		}
		if taken := y.budget.taken.Load(); taken > limit || taken != d.window.Load() {
			t.Errorf("%d bytes taken of %d, by its one connection %d", taken, limit, d.window.Load())
		}
		if grown := d.window.Load() > connWindow; grown != grows {
			t.Errorf("with a budget of %d the window is %d", limit, d.window.Load())
		}
	}
}

func TestErrorsNameTheirCause(t *testing.T) {
	for _, c := range []struct {
		from   error
		target error
	}{
		{&quicgo.IdleTimeoutError{}, ErrTimeout},
		{&quicgo.HandshakeTimeoutError{}, ErrTimeout},
		{&quicgo.StatelessResetError{}, ErrForgotten},
		{&quicgo.VersionNegotiationError{}, ErrNetwork},
		{&quicgo.TransportError{Remote: true, ErrorCode: quicgo.ConnectionRefused}, ErrBusy},
		{&quicgo.TransportError{Remote: true, ErrorCode: 0x178}, ErrNetwork},
		{&quicgo.TransportError{Remote: true, ErrorCode: 0x12a}, ErrRefused},
		{quicgo.ErrTransportClosed, ErrClosed},
		{quicgo.ErrStreamClosed, net.ErrClosed},
		{io.EOF, io.EOF},
	} {
		want(t, typed(c.from), c.target)
	}
	var p *ProtocolError
	if err := typed(&quicgo.TransportError{ErrorCode: quicgo.FrameEncodingError, ErrorMessage: "\x1b[2J"}); !errors.As(err, &p) || p.Code != 7 {
		t.Errorf("%v", err)
	}
	if s := p.Error(); s != `quic: protocol error found here (code 0x7): "\x1b[2J"` {
		t.Errorf("%s", s)
	}
	if s := (&CloseError{Code: 3, Reason: "a\nb", Remote: true}).Error(); s != `quic: connection closed by the peer (code 3): "a\nb"` {
		t.Errorf("%s", s)
	}
}
