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

// A host that moves tells nobody: its packets come from another address, are taken
// nevertheless, and the other side hears of it.
func TestRoaming(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 20*time.Millisecond)
		h := &hub{}
		h.cut.Store(true)
		type stray struct {
			key  PublicKey
			from netip.AddrPort
		}
		for _, dialler := range []bool{true, false} {
			strays := make(chan stray, 100)
			conf := h.config(t)
			conf.Stray = func(key PublicKey, _ *Port, from netip.AddrPort) { strays <- stray{key, from} }
			moving := newMover(s.listen(), s.listen())
			x, y := h.start(t, h.config(t), moving), h.start(t, conf, s.listen())
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
			st := <-strays
			if st.key != x.PublicKey() || st.from != addrPort(moving.socks[1].LocalAddr()) {
				t.Errorf("a stray of %v at %v", st.key, st.from)
			}
			check(t, y.SetPath(st.key, Path{Kind: Punched, Addr: st.from})) // having probed it
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
