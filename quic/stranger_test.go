package quic

import (
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// "Together never more bytes than came from that peer": whatever the relay loses,
// neither side sends candidates more than it was sent, nor anything but handshakes.
func TestNoAmplification(t *testing.T) {
	for _, lost := range []float64{0, 0.3, 1} { // of what y answers
		synctest.Test(t, func(t *testing.T) {
			s := newSim(t, 10*time.Millisecond)
			h := &hub{delay: 20 * time.Millisecond}
			var came [2]atomic.Int64 // to x and y, by relay
			conf := [2]Config{h.config(t), h.config(t)}
			for i := range conf {
				send := conf[i].Relay
				conf[i].Relay = func(to PublicKey, b []byte) {
					if i == 1 && rand.Float64() < lost {
						return
					}
					came[1-i].Add(int64(len(b)))
					send(to, b)
				}
			}
			x, y := h.start(t, conf[0], s.listen()), h.start(t, conf[1], s.listen())
			var victims [2][]*tally // of x and y
			for i, r := range [][2]*Transport{{x, y}, {y, x}} {
				var candidates []netip.AddrPort
				for range maxCandidates + 4 {
					v := newTally(s.listen())
					defer v.Close()
					victims[i] = append(victims[i], v)
					candidates = append(candidates, addrPort(v.LocalAddr()))
				}
				check(t, r[0].Race(r[1].PublicKey(), candidates))
			}
			total := func(i int) (n int64) {
				for _, v := range victims[i] {
					n += v.bytes.Load()
				}
				return n
			}
			addr, err := x.Virtual(y.PublicKey())
			check(t, err)
			c, err := x.Dial(t.Context(), addr, y.PublicKey())
			if err != nil {
				want(t, err, ErrTimeout)
			}
			time.Sleep(raceFor)
			for i := range victims {
				if got, sent := total(i), came[i].Load(); got > sent || (i == 1 && got == 0) || (lost == 1 && i == 0 && got > 0) {
					t.Errorf("%v lost: candidates of side %d got %d bytes, it was sent %d", lost, i, got, sent)
				}
			}
			if lost > 0 {
				return
			}
			d, err := y.Accept(t.Context())
			check(t, err)
			w, r := streams(t, c, d)
			check(t, x.Race(y.PublicKey(), []netip.AddrPort{addrPort(victims[0][0].LocalAddr())}))
			before := total(0)
			go func() { _, _ = w.Write(make([]byte, 1<<20)) }()
			_, err = io.ReadFull(r, make([]byte, 1<<20))
			check(t, err)
			if n := total(0) - before; n != 0 {
				t.Errorf("a candidate got %d bytes of what was said", n)
			}
		})
	}
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
			h.start(t, conf, s.listen())
			_, err = w.Write(make([]byte, 100)) // what is shorter than a reset gets none
			check(t, err)
			<-c.Done()
			want(t, c.Err(), ErrForgotten)
		})
	}
}
