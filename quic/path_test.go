package quic

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// What two peers say goes on, whole and in order, while the path of either
// direction changes again and again, at either side's wish: in memory every 50 ms,
// with loss, on real sockets as fast as messages come.
func TestStreamsSurvivePathChanges(t *testing.T) {
	inBoth(t, 0.05, func(t *testing.T, h *hub, listen func() net.PacketConn) {
		x, y := h.start(t, h.config(t), listen()), h.start(t, h.config(t), listen())
		c, d := call(t, x, y)
		s, r := streams(t, c, d)
		var wg sync.WaitGroup
		stop, came := make(chan struct{}), make(chan struct{})
		virtual := h.delay > 0
		for _, ends := range [][2]*Stream{{s, r}, {r, s}} {
			wg.Go(func() { count(t, ends[0], stop, virtual) })
			wg.Go(func() { recount(t, ends[1], came) })
		}
		for n := range 200 {
			a, b := x, y
			if n%2 == 1 {
				a, b = y, x
			}
			if n/2%2 == 0 {
				direct(t, a, b)
			} else {
				relayed(t, a, b)
			}
			if virtual {
				time.Sleep(50 * time.Millisecond)
				continue
			}
			for range 10 {
				<-came
			}
		}
		close(stop)
		wg.Wait()
		for _, c := range []*Conn{c, d} {
			if !isName(addrPort(c.q.RemoteAddr()).Addr()) || c.Err() != nil {
				t.Errorf("QUIC thinks it speaks to %v; %v", c.q.RemoteAddr(), c.Err())
			}
		}
	})
}

// count writes numbers until stop, then 0; one a millisecond, if slow.
func count(t *testing.T, w io.Writer, stop <-chan struct{}, slow bool) {
	var b [1000]byte
	for n := uint64(1); ; n++ {
		binary.BigEndian.PutUint64(b[:], n)
		select {
		case <-stop:
			clear(b[:])
		default:
		}
		if _, err := w.Write(b[:]); err != nil {
			t.Error(err)
			return
		}
		if b == [1000]byte{} {
			return
		}
		if slow {
			time.Sleep(time.Millisecond)
		}
	}
}

// recount reads what count writes, and reports each number to came.
func recount(t *testing.T, r io.Reader, came chan<- struct{}) {
	var b [1000]byte
	for n := uint64(1); ; n++ {
		if _, err := io.ReadFull(r, b[:]); err != nil {
			t.Error(err)
			return
		}
		select {
		case came <- struct{}{}:
		default:
		}
		switch got := binary.BigEndian.Uint64(b[:]); {
		case got == 0:
			if n < 1000 {
				t.Errorf("only %d messages came", n)
			}
			return
		case got != n:
			t.Errorf("message %d came, want %d", got, n)
			return
		}
	}
}

// Much goes by each kind of path, whole, and by no other.
func TestOnePathOnly(t *testing.T) {
	const size = 4 << 20
	inBoth(t, 0, func(t *testing.T, h *hub, listen func() net.PacketConn) {
		for _, kind := range []PathKind{Relayed, Punched} {
			x, y := h.start(t, h.config(t), listen()), h.start(t, h.config(t), listen())
			h.cut.Store(kind == Punched)
			if kind == Punched {
				direct(t, x, y)
				direct(t, y, x)
			}
			before := h.bytes.Load()
			c, d := call(t, x, y)
			s, r := streams(t, c, d)
			go func() {
				_, _ = s.Write(make([]byte, size))
				_ = s.CloseWrite()
			}()
			if n, err := io.Copy(io.Discard, r); n != size || err != nil {
				t.Errorf("%v: %d bytes came, %v", kind, n, err)
			}
			if n := h.bytes.Load() - before; (n > size) != (kind == Relayed) {
				t.Errorf("%v: %d bytes went by relay", kind, n)
			}
			if p := c.Path(); p.Kind != kind || d.Path().Kind != kind || p.Quiet {
				t.Errorf("paths are %v and %v, want %v", p, d.Path(), kind)
			}
			if kind == Punched && (c.RemoteAddr() != y.LocalAddr() || addrPort(r.RemoteAddr()) != x.LocalAddr()) {
				t.Errorf("remote addresses are %v and %v", c.RemoteAddr(), r.RemoteAddr())
			}
		}
	})
}

// Two peers may have an ordinary connection and a virtual one, between the same
// two addresses.
func TestBothKindsAtOneAddress(t *testing.T) {
	inBoth(t, 0, func(t *testing.T, h *hub, listen func() net.PacketConn) {
		x, y := h.start(t, h.config(t), listen()), h.start(t, h.config(t), listen())
		direct(t, x, y)
		direct(t, y, x)
		var ends [][2]*Stream
		for i := range 6 {
			c, d := connect, call
			if i%2 == 1 {
				c, d = d, c
			}
			a, b := c(t, x, y)
			s, r := streams(t, a, b)
			if a.Virtual() != (i%2 == 1) || b.Virtual() != a.Virtual() {
				t.Errorf("connection %d: virtual %v and %v", i, a.Virtual(), b.Virtual())
			}
			ends = append(ends, [2]*Stream{s, r})
			_ = d
		}
		for _, e := range ends {
			echo(t, e[0], e[1])
			echo(t, e[1], e[0])
		}
	})
}

// A peer that dials a made-up address directly, unannounced, gets an ordinary
// connection at the other side.
func TestUnannounced(t *testing.T) {
	inBoth(t, 0, func(t *testing.T, h *hub, listen func() net.PacketConn) {
		h.cut.Store(true)
		x, y := h.start(t, h.config(t), listen()), start(t, newKey(t), listen())
		direct(t, x, y)
		c, d := call(t, x, y)
		s, r := streams(t, c, d)
		echo(t, s, r)
		if !c.Virtual() || d.Virtual() {
			t.Errorf("virtual %v and %v", c.Virtual(), d.Virtual())
		}
	})
}

func TestProbes(t *testing.T) {
	inBoth(t, 0, func(t *testing.T, h *hub, listen func() net.PacketConn) {
		type probe struct {
			from netip.AddrPort
			b    string
		}
		got := make(chan probe, 10)
		conf := h.config(t)
		conf.Probe = func(_ *Port, from netip.AddrPort, b []byte) { got <- probe{from, string(b)} }
		x, y := h.start(t, h.config(t), listen()), h.start(t, conf, listen())
		for _, b := range []string{"\x01", "\x3fping", "\x00" + string(make([]byte, maxProbe-1))} {
			check(t, x.SendProbe(y.LocalAddr(), []byte(b)))
			if p := <-got; p.b != b || p.from != x.LocalAddr() {
				t.Errorf("got %q of %v", p.b, p.from)
			}
		}
		for _, b := range [][]byte{nil, {0x40}, {0xc0, 1}, make([]byte, maxProbe+1)} {
			if x.SendProbe(y.LocalAddr(), b) == nil {
				t.Errorf("%d bytes are a probe", len(b))
			}
		}
		connect(t, x, y)
	})
}

func TestPathArguments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, time.Millisecond)
		h := &hub{}
		x, y := h.start(t, h.config(t), s.listen()), start(t, newKey(t), s.listen())
		other := PublicOf(newKey(t).Key)
		_, err := y.Virtual(other)
		want(t, err, errNoPaths)
		want(t, y.SetPath(other, Path{Kind: Relayed}), errNoPaths)
		y.Deliver(other, make([]byte, 100))
		_, err = x.Virtual(x.PublicKey())
		want(t, err, ErrWrongKey)
		if _, ok := x.PathTo(other); ok {
			t.Error("there is a path to somebody unheard of")
		}
		name, err := x.Virtual(other)
		check(t, err)
		for _, a := range []string{"0.0.0.0:1", "[::]:1", "192.0.2.1:0", "224.0.0.1:1", name.String()} {
			if x.SetPath(other, Path{Addr: netip.MustParseAddrPort(a)}) == nil {
				t.Errorf("a path to %v", a)
			}
		}
		_, err = x.Dial(t.Context(), name, y.PublicKey())
		want(t, err, ErrUnreachable)
		if again, _ := x.Virtual(other); again != name {
			t.Errorf("%v, then %v", name, again)
		}
		begin := time.Now()
		_, err = x.Dial(t.Context(), name, other) // not registered at the hub
		want(t, err, ErrTimeout)
		if took := time.Since(begin); took != 5*time.Second {
			t.Errorf("took %v", took)
		}
		for p, wants := range map[Path]string{
			{Kind: Relayed}: "relayed",
			{Kind: Punched, Addr: y.LocalAddr(), Quiet: true}: fmt.Sprintf("punched %v (quiet)", y.LocalAddr()),
		} {
			check(t, x.SetPath(other, p))
			if p.String() != wants {
				t.Errorf("%q, want %q", p, wants)
			}
		}
	})
}
