package quic

import (
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A hub is a relay for the transports that are at it.
type hub struct {
	delay time.Duration
	cut   atomic.Bool
	bytes atomic.Int64
	heard sync.Map // PublicKey to *Transport
}

// config is newKey's, with the hub for a relay.
func (h *hub) config(tb testing.TB) Config {
	c := newKey(tb)
	self := PublicOf(c.Key)
	c.Relay = func(to PublicKey, b []byte) {
		if len(b) > VirtualPacketSize {
			tb.Errorf("%d bytes for the relay", len(b))
		}
		t, ok := h.heard.Load(to)
		if !ok || h.cut.Load() {
			return
		}
		h.bytes.Add(int64(len(b)))
		if h.delay == 0 {
			t.(*Transport).Deliver(self, b)
			return
		}
		b = append([]byte(nil), b...)
		time.AfterFunc(h.delay, func() { t.(*Transport).Deliver(self, b) })
	}
	return c
}

func (h *hub) start(tb testing.TB, c Config, socket net.PacketConn) *Transport {
	tb.Helper()
	t := start(tb, c, socket)
	h.heard.Store(t.PublicKey(), t)
	return t
}

// call dials the made-up address of y.
func call(tb testing.TB, x, y *Transport) (dialled, accepted *Conn) {
	tb.Helper()
	addr, err := x.Virtual(y.PublicKey())
	check(tb, err)
	dialled, err = x.Dial(tb.Context(), addr, y.PublicKey())
	check(tb, err)
	accepted, err = y.Accept(tb.Context())
	check(tb, err)
	return dialled, accepted
}

// direct lets packets from x to y go straight.
func direct(tb testing.TB, x, y *Transport) {
	tb.Helper()
	check(tb, x.SetPath(y.PublicKey(), Path{Kind: Punched, Addr: y.LocalAddr()}))
}

func relayed(tb testing.TB, x, y *Transport) {
	tb.Helper()
	check(tb, x.SetPath(y.PublicKey(), Path{Kind: Relayed}))
}

// inBoth runs a test over real sockets of this machine and in memory.
func inBoth(t *testing.T, loss float64, f func(t *testing.T, h *hub, listen func() net.PacketConn)) {
	for _, ip := range []string{"127.0.0.1", "::1"} {
		t.Run(ip, func(t *testing.T) {
			f(t, &hub{}, func() net.PacketConn { return listenLoopback(t, ip) })
		})
	}
	t.Run("sim", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newSim(t, 10*time.Millisecond)
			s.mtu = 1280 - 48
			f(t, &hub{delay: 25 * time.Millisecond}, func() net.PacketConn { return &dice{s.listen(), loss} })
		})
	})
}

// dice loses packets.
type dice struct {
	net.PacketConn
	loss float64
}

func (d *dice) WriteTo(b []byte, to net.Addr) (int, error) {
	if rand.Float64() < d.loss {
		return len(b), nil
	}
	return d.PacketConn.WriteTo(b, to)
}

// scissors cut a wire.
type scissors struct {
	net.PacketConn
	cut *atomic.Bool
}

func (s *scissors) WriteTo(b []byte, to net.Addr) (int, error) {
	if s.cut.Load() {
		return len(b), nil
	}
	return s.PacketConn.WriteTo(b, to)
}

// A tally counts packets.
type tally struct {
	net.PacketConn
	bytes atomic.Int64
}

func newTally(s net.PacketConn) *tally {
	v := &tally{PacketConn: s}
	go func() {
		b := make([]byte, 2000)
		for {
			n, _, err := s.ReadFrom(b)
			if err != nil {
				return
			}
			v.bytes.Add(int64(n))
		}
	}()
	return v
}

// mute says nothing once it is on.
type mute struct {
	net.PacketConn
	on atomic.Bool
}

func (m *mute) WriteTo(b []byte, to net.Addr) (int, error) {
	if m.on.Load() {
		return len(b), nil
	}
	return m.PacketConn.WriteTo(b, to)
}
