package quic

import (
	"crypto/rand"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// "After 500 ms of silence on an active path ...": packets then go by relay as
// well, on both sides, and return to the path when it works again.
func TestSilentPathHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 20*time.Millisecond)
		h := &hub{delay: 50 * time.Millisecond}
		wire := &atomic.Bool{}
		var changes atomic.Int32
		one, two := h.config(t), h.config(t)
		one.PathChanged = func(PublicKey) { changes.Add(1) }
		x, y := h.start(t, one, &scissors{s.listen(), wire}), h.start(t, two, &scissors{s.listen(), wire})
		direct(t, x, y)
		direct(t, y, x)
		c, d := call(t, x, y)
		w, r := streams(t, c, d)
		exchange := func() time.Duration {
			begin := time.Now()
			echo(t, w, r)
			echo(t, r, w)
			return time.Since(begin)
		}
		exchange()
		if n := h.bytes.Load(); n != 0 {
			t.Errorf("%d bytes went by relay while the path was well", n)
		}
		time.Sleep(20 * time.Second)
		for range 3 {
			changes.Store(0)
			wire.Store(true)
			if took := exchange(); took > 1200*time.Millisecond {
				t.Errorf("healing took %v", took)
			}
			if !c.Path().Quiet || changes.Load() == 0 {
				t.Errorf("the path is %v, %d changes were told", c.Path(), changes.Load())
			}
			if took := exchange(); took > time.Second {
				t.Errorf("then %v", took)
			}
			time.Sleep(30 * time.Second)
			exchange()
			wire.Store(false)
			time.Sleep(2 * time.Second)
			exchange()
			time.Sleep(2 * time.Second)
			exchange()
			time.Sleep(2 * time.Second)
			if c.Path().Quiet || d.Path().Quiet {
				t.Errorf("paths are %v and %v", c.Path(), d.Path())
			}
			before := h.bytes.Load()
			exchange()
			if n := h.bytes.Load() - before; n != 0 {
				t.Errorf("%d bytes went by relay when the path was back", n)
			}
		}
	})
}

// Packets with the path's address as forged source do not keep a dead path alive.
func TestForgedPacketsKeepNoPathAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 20*time.Millisecond)
		h := &hub{delay: 50 * time.Millisecond}
		wire := &atomic.Bool{}
		x, y := h.start(t, h.config(t), &scissors{s.listen(), wire}), h.start(t, h.config(t), &scissors{s.listen(), wire})
		direct(t, x, y)
		direct(t, y, x)
		c, d := call(t, x, y)
		w, r := streams(t, c, d)
		echo(t, w, r)
		wire.Store(true)
		over := make(chan struct{})
		defer close(over)
		go func() {
			for {
				short, long := make([]byte, 50), make([]byte, 50)
				rand.Read(short)
				short[0], short[1] = 0x40|short[0]&0x3f, 0x80|short[1]
				copy(long, []byte{0: 0xc0, 4: 1, 5: 8, 14: 7, 15: 0x80}) // as a caller sends
				for _, b := range [][]byte{short, long} {
					if !y.paths.take(nil, x.LocalAddr(), b, 0) || !x.paths.take(nil, y.LocalAddr(), b, 0) {
						t.Errorf("%x is taken for a packet of an ordinary connection", b)
					}
				}
				select {
				case <-time.After(50 * time.Millisecond):
				case <-over:
					return
				}
			}
		}()
		begin := time.Now()
		echo(t, w, r)
		echo(t, r, w)
		if took := time.Since(begin); took > 1200*time.Millisecond {
			t.Errorf("healing took %v", took)
		}
	})
}
