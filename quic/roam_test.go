package quic

import (
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A host that moves does not announce it: its packets come from another address and
// are accepted nevertheless.
func TestRoaming(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 20*time.Millisecond)
		h := &hub{}
		h.cut.Store(true)
		for _, dialler := range []bool{true, false} {
			moving := newMover(s.listen(), s.listen())
			x, y := h.start(t, h.config(t), moving), h.start(t, h.config(t), s.listen())
			direct(t, x, y)
			direct(t, y, x)
			c, d := x, y
			if !dialler {
				c, d = y, x
			}
			a, b := call(t, c, d)
			w, r := streams(t, a, b)
			if !dialler {
				w, r = r, w
			}
			echo(t, w, r)
			time.Sleep(time.Second)
			moving.move()
			begin := time.Now()
			go func() { _, _ = w.Write([]byte("from elsewhere")) }()
			got := make([]byte, 14)
			_, err := io.ReadFull(r, got)
			check(t, err)
			now := addrPort(moving.socks[1].LocalAddr())
			check(t, y.SetPath(x.PublicKey(), Path{Kind: Punched, Addr: now})) // having probed it
			echo(t, r, w)
			if took := time.Since(begin); took > 1500*time.Millisecond {
				t.Errorf("took %v", took)
			}
			if p := b.q.RemoteAddr(); !isName(addrPort(p).Addr()) {
				t.Errorf("QUIC followed to %v", p)
			}
		}
	})
}

// A peer that sends from an address which is not its path goes on to, also when it
// takes another connection ID meanwhile, as quic-go does every 10,000 packets.
func TestStrayTakesAnotherID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 40 << 20
		s := newSim(t, time.Millisecond)
		h := &hub{delay: time.Millisecond}
		x, y := h.start(t, h.config(t), s.listen()), h.start(t, h.config(t), s.listen())
		c, d := call(t, x, y)
		w, r := streams(t, c, d)
		done := make(chan struct{})
		go func() {
			for { // never long enough for the silence from there to be heeded
				direct(t, x, y)
				select {
				case <-time.After(100 * time.Millisecond):
				case <-done:
					return
				}
			}
		}()
		go func() {
			_, _ = w.Write(make([]byte, size))
			_ = w.CloseWrite()
		}()
		b := make([]byte, 64<<10)
		for n, last := 0, time.Now(); n < size; last = time.Now() {
			m, err := r.Read(b)
			if n += m; err != nil && n < size {
				t.Error(err)
				break
			}
			if took := time.Since(last); took > 300*time.Millisecond {
				t.Errorf("nothing came for %v after %d bytes", took, n)
			}
		}
		close(done)
		if n := d.Stats().PacketsReceived; n < 30_000 || d.Path().Kind != Relayed {
			t.Errorf("%d packets came, by %v", n, d.Path())
		}
		if p := d.q.RemoteAddr(); !isName(addrPort(p).Addr()) {
			t.Errorf("QUIC followed to %v", p)
		}
	})
}

// A mover sends from one of two sockets, and receives at that alone.
type mover struct {
	socks [2]net.PacketConn
	at    atomic.Int32
	in    chan came
	done  chan struct{}
}

type came struct {
	b    []byte
	from net.Addr
}

func newMover(a, b net.PacketConn) *mover {
	m := &mover{socks: [2]net.PacketConn{a, b}, in: make(chan came, 100), done: make(chan struct{})}
	for i, s := range m.socks {
		go func() {
			for {
				b := make([]byte, 2000)
				n, from, err := s.ReadFrom(b)
				if err != nil {
					return
				}
				if int(m.at.Load()) == i {
					select {
					case m.in <- came{b[:n], from}:
					case <-m.done:
					}
				}
			}
		}()
	}
	return m
}

func (m *mover) move() { m.at.Add(1) }

func (m *mover) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case c := <-m.in:
		return copy(b, c.b), c.from, nil
	case <-m.done:
		return 0, nil, net.ErrClosed
	}
}

func (m *mover) WriteTo(b []byte, to net.Addr) (int, error) {
	return m.socks[m.at.Load()].WriteTo(b, to)
}

func (m *mover) LocalAddr() net.Addr { return m.socks[0].LocalAddr() }

func (m *mover) SetDeadline(time.Time) error { return nil }

func (m *mover) SetReadDeadline(time.Time) error { return nil }

func (m *mover) SetWriteDeadline(time.Time) error { return nil }

func (m *mover) Close() error {
	close(m.done)
	m.socks[0].Close()
	return m.socks[1].Close()
}
