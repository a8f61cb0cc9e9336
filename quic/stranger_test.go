package quic

import (
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A sender at an unknown address receives nothing there about a virtual connection.
func TestStrayGetsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 10*time.Millisecond)
		h := &hub{delay: 20 * time.Millisecond}
		var last atomic.Pointer[[]byte]
		relay := h.config(t)
		send := relay.Relay
		relay.Relay = func(to PublicKey, b []byte) {
			kept := append([]byte(nil), b...)
			last.Store(&kept)
			send(to, b)
		}
		x, y := h.start(t, relay, s.listen()), h.start(t, h.config(t), s.listen())
		c, d := call(t, x, y)
		w, r := streams(t, c, d)
		echo(t, w, r)
		victim := newTally(s.listen())
		defer victim.Close()
		for range 100 { // an attacker replays a packet with a forged source
			_, err := victim.WriteTo(*last.Load(), net.UDPAddrFromAddrPort(y.LocalAddr()))
			check(t, err)
		}
		echo(t, w, r)
		echo(t, r, w)
		time.Sleep(time.Second)
		if n := victim.bytes.Load(); n != 0 {
			t.Errorf("the address was sent %d bytes", n)
		}
		if p := d.Path(); p.Kind != Relayed {
			t.Errorf("the path is %v", p)
		}
	})
}

// A relay that names a false sender of a packet creates no connection.
func TestRelayLies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 10*time.Millisecond)
		conf, other := newKey(t), PublicOf(newKey(t).Key)
		var x, y *Transport
		conf.Relay = func(_ PublicKey, b []byte) { y.Deliver(other, b) }
		x = start(t, conf, s.listen())
		conf = newKey(t)
		conf.Relay = func(_ PublicKey, b []byte) { x.Deliver(y.PublicKey(), b) }
		y = start(t, conf, s.listen())
		addr, err := x.Virtual(y.PublicKey())
		check(t, err)
		go func() {
			if c, err := y.Accept(t.Context()); err == nil {
				t.Errorf("accepted %v", c.RemoteKey())
			}
		}()
		c, err := x.Dial(t.Context(), addr, y.PublicKey())
		if err == nil {
			<-c.Done()
		}
	})
}

// A peer that restarts resets the connections that it knows no more, by relay and
// at an address alike.
func TestRestartResets(t *testing.T) {
	for _, kind := range []PathKind{Relayed, Punched} {
		synctest.Test(t, func(t *testing.T) {
			s := newSim(t, 10*time.Millisecond)
			h := &hub{delay: 10 * time.Millisecond}
			conf := h.config(t)
			x := h.start(t, h.config(t), s.listen())
			socket := s.listen()
			addr := socket.LocalAddr().(*net.UDPAddr)
			conf.Conn = &mute{PacketConn: socket}
			y, err := NewTransport(conf)
			check(t, err)
			h.heard.Store(y.PublicKey(), y)
			if kind == Punched {
				direct(t, x, y)
			}
			c, d := call(t, x, y)
			w, r := streams(t, c, d)
			echo(t, w, r)
			h.cut.Store(true)
			conf.Conn.(*mute).on.Store(true)
			check(t, y.Close())
			time.Sleep(time.Second)
			h.cut.Store(false)
			s.next = addr.IP.To4()[3] - 1
			h.start(t, conf, s.listen())
			_, err = w.Write(make([]byte, 100)) // what is shorter than a reset gets none
			check(t, err)
			<-c.Done()
			want(t, c.Err(), ErrForgotten)
		})
	}
}
