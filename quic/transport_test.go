package quic

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// Both sides know the other's key, over IPv4, IPv6 and a dual-stack socket.
func TestDialAndAccept(t *testing.T) {
	for _, ip := range []string{"127.0.0.1", "::1"} {
		t.Run(ip, func(t *testing.T) {
			x, y := newLoopback(t, ip), newLoopback(t, ip)
			c, d := connect(t, x, y)
			if c.RemoteKey() != y.PublicKey() || d.RemoteKey() != x.PublicKey() {
				t.Error("a side has the wrong key of the other")
			}
			if c.RemoteAddr() != y.LocalAddr() || d.RemoteAddr() != x.LocalAddr() {
				t.Errorf("remote addresses %v and %v, want %v and %v", c.RemoteAddr(), d.RemoteAddr(), y.LocalAddr(), x.LocalAddr())
			}
			if !c.Dialled() || d.Dialled() {
				t.Error("who dialled is wrong")
			}
			s, r := streams(t, c, d)
			echo(t, s, r)
			echo(t, r, s)
			if c.Stats().SmoothedRTT == 0 || c.Stats().BytesSent == 0 || d.Stats().PacketsReceived == 0 {
				t.Errorf("empty figures: %+v", c.Stats())
			}
		})
	}
}

func TestDualStackUnmaps(t *testing.T) {
	socket, err := ListenUDP(netip.AddrPort{})
	check(t, err)
	x, y := start(t, newKey(t), socket), newLoopback(t, "127.0.0.1")
	if !x.LocalAddr().Addr().IsUnspecified() || x.LocalAddr().Port() == 0 {
		t.Fatalf("listens on %v", x.LocalAddr())
	}
	mapped := netip.AddrPortFrom(netip.MustParseAddr("::ffff:127.0.0.1"), y.LocalAddr().Port())
	c, err := x.Dial(t.Context(), mapped, y.PublicKey())
	check(t, err)
	d, err := y.Accept(t.Context())
	check(t, err)
	v4 := netip.MustParseAddr("127.0.0.1")
	if c.RemoteAddr().Addr() != v4 || d.RemoteAddr().Addr() != v4 {
		t.Errorf("remote addresses %v and %v are not plain IPv4", c.RemoteAddr(), d.RemoteAddr())
	}
}

// echo sends some bytes from one end to the other.
func echo(t *testing.T, from io.Writer, to io.Reader) {
	t.Helper()
	message := []byte("fresh, and in order")
	_, err := from.Write(message)
	check(t, err)
	got := make([]byte, len(message))
	_, err = io.ReadFull(to, got)
	check(t, err)
	if !bytes.Equal(got, message) {
		t.Fatalf("got %q", got)
	}
}

// Much arrives whole: the windows grow, and the socket turns to coalesced reads
// on the way.
func TestBulkArrivesWhole(t *testing.T) {
	x, y := newLoopback(t, "127.0.0.1"), newLoopback(t, "127.0.0.1")
	c, d := connect(t, x, y)
	s, r := streams(t, c, d)
	size := int64(24 << 20)
	sent := make(chan []byte, 1)
	go func() {
		h := sha256.New()
		_, err := io.Copy(io.MultiWriter(s, h), io.LimitReader(rand.Reader, size))
		if err == nil {
			err = s.CloseWrite()
		}
		if err != nil {
			t.Error(err)
		}
		sent <- h.Sum(nil)
	}()
	h := sha256.New()
	n, err := io.Copy(h, r)
	check(t, err)
	if n != size || !bytes.Equal(h.Sum(nil), <-sent) {
		t.Fatalf("%d of %d bytes came, or others", n, size)
	}
	check(t, y.Close())
	coalesced(t, y)
}

func TestWrongKey(t *testing.T) {
	x, y := newLoopback(t, "127.0.0.1"), newLoopback(t, "127.0.0.1")
	other, err := GenerateKey()
	check(t, err)
	_, err = x.Dial(t.Context(), y.LocalAddr(), PublicOf(other))
	want(t, err, ErrWrongKey)
	_, err = x.Dial(t.Context(), y.LocalAddr(), x.PublicKey())
	want(t, err, ErrWrongKey)
	connect(t, x, y) // and nothing is broken
}

func TestAnotherNetwork(t *testing.T) {
	elsewhere := newKey(t)
	elsewhere.ALPN = "test/2"
	x, y := newLoopback(t, "127.0.0.1"), start(t, elsewhere, listenLoopback(t, "127.0.0.1"))
	_, err := x.Dial(t.Context(), y.LocalAddr(), y.PublicKey())
	want(t, err, ErrNetwork)
}

func TestAdmit(t *testing.T) {
	strangers := errors.New("no strangers")
	private := newKey(t)
	private.Admit = func(PublicKey) error { return strangers }
	x, y := newLoopback(t, "127.0.0.1"), start(t, private, listenLoopback(t, "127.0.0.1"))

	// TLS 1.3 lets a dialler believe that it is in, until it hears otherwise.
	c, err := x.Dial(t.Context(), y.LocalAddr(), y.PublicKey())
	if err == nil {
		<-c.Done()
		err = c.Err()
	}
	want(t, err, ErrRefused)

	_, err = y.Dial(t.Context(), x.LocalAddr(), x.PublicKey())
	want(t, err, strangers)
}

// Whatever comes to the socket, it goes on serving.
func TestGarbageStopsNoConnection(t *testing.T) {
	x, y := newLoopback(t, "127.0.0.1"), newLoopback(t, "127.0.0.1")
	go serve(y, answer)
	c, err := x.Dial(t.Context(), y.LocalAddr(), y.PublicKey())
	check(t, err)
	s, err := c.OpenStream(t.Context())
	check(t, err)
	echoOnce(t, s)

	enemy, err := net.Dial("udp4", y.LocalAddr().String())
	check(t, err)
	defer enemy.Close()
	for size := range 1500 {
		b := make([]byte, size)
		rand.Read(b)
		switch {
		case size%3 == 1: // a long header of QUIC v1
			copy(b, []byte{0xc0, 0, 0, 0, 1, 8})
		case size%3 == 2 && size > 5: // a short header
			b[0] = 0x40 | b[0]&0x3f
		}
		_, _ = enemy.Write(b)
	}
	echoOnce(t, s)
	c2, err := x.Dial(t.Context(), y.LocalAddr(), y.PublicKey())
	check(t, err)
	s2, err := c2.OpenStream(t.Context())
	check(t, err)
	echoOnce(t, s2)
}

// An address without a way to it is an error at once, not after the timeout.
func TestUnreachableFailsAtOnce(t *testing.T) {
	x := newLoopback(t, "127.0.0.1")
	key := newKey(t).Key
	for _, addr := range []string{"[2001:db8::1]:4774", "0.0.0.0:4774", "127.0.0.1:0", "203.0.113.1:4774"} {
		_, err := x.Dial(t.Context(), netip.MustParseAddrPort(addr), PublicOf(key))
		want(t, err, ErrUnreachable)
	}
}

func TestSilenceTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 10*time.Millisecond)
		x, hole := s.transport(), s.listen()
		defer hole.Close()
		key := PublicOf(newKey(t).Key)
		begin := time.Now()
		_, err := x.Dial(t.Context(), addrPort(hole.LocalAddr()), key)
		want(t, err, ErrTimeout)
		if ne, ok := errors.AsType[net.Error](err); !ok || !ne.Timeout() {
			t.Error("a timeout that does not say so")
		}
		if took := time.Since(begin); took != 5*time.Second {
			t.Errorf("took %v", took)
		}

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin = time.Now()
		_, err = x.Dial(ctx, addrPort(hole.LocalAddr()), key)
		want(t, err, context.DeadlineExceeded)
		if took := time.Since(begin); took != time.Second {
			t.Errorf("with a context of one second it took %v", took)
		}
	})
}

// Every call that blocks ends with its context.
func TestContextsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 10*time.Millisecond)
		x, y := s.transport(), s.transport()
		c, _ := connect(t, x, y)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := x.Accept(ctx)
		want(t, err, context.DeadlineExceeded)
		_, err = c.AcceptStream(ctx)
		want(t, err, context.DeadlineExceeded)
		for range 100 { // all that y allows
			_, err := c.OpenStream(t.Context())
			check(t, err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = c.OpenStream(ctx)
		want(t, err, context.DeadlineExceeded)
	})
}
