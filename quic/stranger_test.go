package quic

import (
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Nobody can have us send a stranger more bytes than it sent itself.
func TestNoAmplification(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 10*time.Millisecond)
		h := &hub{delay: 20 * time.Millisecond}
		victims := make([]*tally, maxCandidates+4)
		var candidates []netip.AddrPort
		for i := range victims {
			victims[i] = newTally(s.listen())
			defer victims[i].Close()
			candidates = append(candidates, addrPort(victims[i].LocalAddr()))
		}
		x, y := h.start(t, h.config(t), s.listen()), h.start(t, h.config(t), s.listen())
		check(t, x.Race(y.PublicKey(), candidates))
		check(t, y.Race(x.PublicKey(), candidates))
		c, d := call(t, x, y)
		w, r := streams(t, c, d)
		echo(t, w, r)
		var got int64
		for _, v := range victims {
			got += v.bytes.Load()
		}
		if sent := h.bytes.Load(); got == 0 || got > sent {
			t.Errorf("candidates got %d bytes, %d went by relay", got, sent)
		}
		// And nothing but handshakes: that what was said does not go there.
		time.Sleep(time.Second)
		before := got
		go func() { _, _ = w.Write(make([]byte, 1<<20)) }()
		_, err := io.ReadFull(r, make([]byte, 1<<20))
		check(t, err)
		got = 0
		for _, v := range victims {
			got += v.bytes.Load()
		}
		if got != before {
			t.Errorf("candidates got %d bytes more", got-before)
		}
	})
}

// Whoever sends to us from an address that we do not know hears nothing there
// about a virtual connection.
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
		for range 100 { // somebody repeats a packet, with a false sender
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

// A relay that says a packet is from somebody else gets nobody a connection.
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
			y = h.start(t, conf, s.listen())
			_, err = w.Write(make([]byte, 100)) // what is shorter than a reset gets none
			check(t, err)
			<-c.Done()
			want(t, c.Err(), ErrForgotten)
		})
	}
}
