package quic

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func openPort(tb testing.TB, x *Transport) *Port {
	tb.Helper()
	p, err := x.OpenPort()
	check(tb, err)
	return p
}

func TestPortProbes(t *testing.T) {
	inBoth(t, 0, func(t *testing.T, h *hub, listen func() net.PacketConn) {
		type probe struct {
			via  *Port
			from netip.AddrPort
			b    string
		}
		got := make(chan probe, 10)
		conf := h.config(t)
		conf.OpenPort = func() (net.PacketConn, error) { return listen(), nil }
		conf.Probe = func(via *Port, from netip.AddrPort, b []byte) { got <- probe{via, from, string(b)} }
		x := h.start(t, conf, listen())
		p, q := openPort(t, x), openPort(t, x)
		all := []struct {
			via  *Port
			addr netip.AddrPort
			send func(netip.AddrPort, []byte) error
		}{{nil, x.LocalAddr(), x.SendProbe}, {p, p.LocalAddr(), p.SendProbe}, {q, q.LocalAddr(), q.SendProbe}}
		for _, from := range all {
			for _, to := range all {
				if from.addr == to.addr {
					continue
				}
				check(t, from.send(to.addr, []byte("\x02?")))
				if g := <-got; g != (probe{to.via, from.addr, "\x02?"}) {
					t.Errorf("%v came from %v to %v", g, from.addr, to.addr)
				}
			}
			if from.send(all[0].addr, []byte{0x40}) == nil || from.send(netip.AddrPort{}, []byte{1}) == nil {
				t.Error("something else was sent")
			}
		}
	})
}

// A path may go by a port on either side or on both; streams continue when a
// port of the path is closed.
func TestPathByPort(t *testing.T) {
	const size = 1 << 20
	inBoth(t, 0, func(t *testing.T, h *hub, listen func() net.PacketConn) {
		var changed atomic.Int32
		conf := func() Config {
			c := h.config(t)
			c.OpenPort = func() (net.PacketConn, error) { return listen(), nil }
			c.PathChanged = func(PublicKey) { changed.Add(1) }
			return c
		}
		x, y := h.start(t, conf(), listen()), h.start(t, conf(), listen())
		c, d := call(t, x, y)
		s, r := streams(t, c, d)
		both := func() {
			t.Helper()
			for _, e := range [][2]*Stream{{s, r}, {r, s}} {
				var wg sync.WaitGroup
				wg.Go(func() { _, _ = e[0].Write(bytes.Repeat([]byte{7}, size)) })
				got := make([]byte, size)
				_, err := io.ReadFull(e[1], got)
				check(t, err)
				wg.Wait()
			}
		}
		for _, use := range [][2]bool{{true, false}, {false, true}, {true, true}} {
			var ports [2]*Port
			addrs := [2]netip.AddrPort{x.LocalAddr(), y.LocalAddr()}
			for i, tr := range []*Transport{x, y} {
				if use[i] {
					ports[i] = openPort(t, tr)
					addrs[i] = ports[i].LocalAddr()
				}
			}
			check(t, x.SetPath(y.PublicKey(), Path{Kind: Punched, Addr: addrs[1], Via: ports[0]}))
			check(t, y.SetPath(x.PublicKey(), Path{Kind: Punched, Addr: addrs[0], Via: ports[1]}))
			before := h.bytes.Load()
			both()
			if n := h.bytes.Load() - before; n > 10<<10 { // of the moment before
				t.Errorf("ports %v: %d bytes went by relay", use, n)
			}
			want := Path{Kind: Punched, Addr: addrs[1], Via: ports[0]}
			if p, ok := x.PathTo(y.PublicKey()); !ok || p != want || c.Path() != want {
				t.Errorf("the path is %+v, want %+v", p, want)
			}
			for i, tr := range []*Transport{x, y} {
				if !use[i] {
					continue
				}
				to := [2]*Transport{y, x}[i].PublicKey()
				changed.Store(0)
				check(t, ports[i].Close())
				check(t, ports[i].Close())
				if p, _ := tr.PathTo(to); p != (Path{Kind: Relayed}) || changed.Load() != 1 {
					t.Errorf("the path is %v, %d changes were told", p, changed.Load())
				}
				if err := tr.SetPath(to, Path{Kind: Punched, Addr: addrs[1-i], Via: ports[i]}); err == nil {
					t.Error("a path by a closed port")
				}
			}
			relayed(t, x, y)
			relayed(t, y, x)
			both()
		}
	})
}

// "No peer can begin a connection there": neither an ordinary one nor, unless it
// comes from the address of a path, a virtual one.
func TestPortAcceptsNoConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 10*time.Millisecond)
		h := &hub{}
		h.cut.Store(true)
		conf := h.config(t)
		conf.OpenPort = func() (net.PacketConn, error) { return s.listen(), nil }
		x, y := h.start(t, h.config(t), s.listen()), h.start(t, conf, s.listen())
		p := openPort(t, y)
		_, err := x.Dial(t.Context(), p.LocalAddr(), y.PublicKey())
		want(t, err, ErrTimeout)
		check(t, x.SetPath(y.PublicKey(), Path{Addr: p.LocalAddr()}))
		addr, err := x.Virtual(y.PublicKey())
		check(t, err)
		_, err = x.Dial(t.Context(), addr, y.PublicKey())
		want(t, err, ErrTimeout)
		// What is not QUIC at all does no harm either.
		check(t, x.SendProbe(p.LocalAddr(), []byte{1}))
		for _, b := range [][]byte{{}, {0x40}, {0xc0}, {0xc0, 0, 0, 0, 1, 200}, make([]byte, 1500-48), {0x40, 0x80, 1, 2, 3, 4, 5}} {
			_, err := x.c.Conn.WriteTo(b, net.UDPAddrFromAddrPort(p.LocalAddr()))
			check(t, err)
		}
		check(t, y.SetPath(x.PublicKey(), Path{Addr: x.LocalAddr(), Via: p}))
		c, d := call(t, x, y)
		a, b := streams(t, c, d)
		echo(t, a, b)
	})
}

func TestPortLimits(t *testing.T) {
	h := &hub{}
	x := h.start(t, h.config(t), listenLoopback(t, "127.0.0.1"))
	var last *Port
	for range maxPorts {
		last = openPort(t, x)
		if a := last.LocalAddr(); !a.Addr().IsLoopback() || a == x.LocalAddr() {
			t.Fatalf("a port at %v", a)
		}
	}
	_, err := x.OpenPort()
	want(t, err, ErrBusy)
	check(t, last.Close())
	openPort(t, x)
	_, err = x.OpenPort()
	want(t, err, ErrBusy)
	check(t, x.Close())
	_, err = x.OpenPort()
	want(t, err, ErrClosed)
	check(t, last.Close())
	want(t, last.SendProbe(x.LocalAddr(), []byte{1}), net.ErrClosed)

	y := newLoopback(t, "127.0.0.1") // without Relay
	_, err = y.OpenPort()
	want(t, err, errNoPaths)
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, time.Millisecond)
		z := h.start(t, h.config(t), s.listen())
		_, err := z.OpenPort()
		want(t, err, errNoPorts)
	})
}

// Ports may be opened, used and closed concurrently, also from their own callbacks
// and while the transport is closed.
func TestPortsAtOnce(t *testing.T) {
	h := &hub{}
	conf := h.config(t)
	conf.Probe = func(via *Port, _ netip.AddrPort, b []byte) {
		if via != nil {
			via.Close()
		}
	}
	x := h.start(t, conf, listenLoopback(t, "127.0.0.1"))
	other := PublicOf(newKey(t).Key)
	opened := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				p, err := x.OpenPort()
				if err != nil {
					if !errors.Is(err, ErrClosed) {
						t.Error(err)
					}
					return
				}
				_ = x.SetPath(other, Path{Kind: Punched, Addr: x.LocalAddr(), Via: p})
				_ = p.SendProbe(p.LocalAddr(), []byte{1})
				_ = x.SendProbe(p.LocalAddr(), []byte{1})
				select {
				case opened <- struct{}{}:
				default:
				}
				p.Close()
			}
		})
	}
	for range 100 {
		<-opened
	}
	check(t, x.Close())
	wg.Wait()
}
