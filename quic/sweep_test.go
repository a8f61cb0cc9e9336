package quic

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// "The dialler closes after 30 s idle, the acceptor after 60."
func TestPoolClosesIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newMembers(t).pair(PoolConfig{})
		c := a.get(t, b)
		time.Sleep(29 * time.Second)
		if got := a.get(t, b); got != c { // a use
			t.Fatal("another connection")
		}
		time.Sleep(29 * time.Second)
		a.has(t, 1, 1, 0)
		time.Sleep(2 * time.Second)
		a.has(t, 0, 1, 1)
		endedWith(t, c, codeIdle)
		time.Sleep(time.Second)
		b.has(t, 0, 1, 1)

		if got := a.get(t, b); got == c {
			t.Error("a closed connection is given")
		}
	})
}

func TestPoolAcceptorWaitsLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newMembers(t).pair(PoolConfig{})
		a.get(t, b).Hold()
		time.Sleep(59 * time.Second)
		b.has(t, 1, 1, 0)
		time.Sleep(2 * time.Second)
		b.has(t, 0, 1, 1)
		endedWith(t, b.first(&b.closed), codeIdle)
		if b.first(&b.closed).Dialled() {
			t.Error("not the acceptor's side")
		}
	})
}

func TestPoolNegativeIdleKeepsConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newMembers(t).pair(PoolConfig{IdleDialled: -1, IdleAccepted: -1})
		a.get(t, b)
		time.Sleep(24 * time.Hour)
		a.has(t, 1, 1, 0)
	})
}

// Over capacity the one unused for longest goes, unless it is held.
func TestPoolMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ms := newMembers(t)
		hub := ms.join(PoolConfig{MaxIn: 1, MaxOut: 3})
		var conns []*Conn
		for range 4 {
			conns = append(conns, hub.get(t, ms.join(PoolConfig{})))
			time.Sleep(time.Second)
		}
		conns[0].Touch()
		release := conns[1].Hold()
		defer release()
		conns = append(conns, hub.get(t, ms.join(PoolConfig{})))
		hub.has(t, 4, 5, 1)
		endedWith(t, conns[2], codeIdle)

		for _, c := range conns { // one of which has ended
			defer c.Hold()()
		}
		_, err := hub.Get(t.Context(), ms.join(PoolConfig{}).t.PublicKey())
		want(t, err, ErrBusy)
		hub.has(t, 4, 5, 1)
	})
}

// Accepted connections never take the room kept free for dialled ones.
func TestPoolKeepsRoomToDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ms := newMembers(t)
		hub := ms.join(PoolConfig{MaxIn: 2, MaxOut: 1})
		mine := hub.get(t, ms.join(PoolConfig{}))
		for range 5 {
			ms.join(PoolConfig{}).get(t, hub)
			time.Sleep(time.Second)
		}
		hub.has(t, 3, 6, 3)
		if mine.Err() != nil {
			t.Error("accepted connections pushed a dialled one out")
		}
		endedWith(t, hub.first(&hub.closed), codeIdle)
	})
}

func TestPoolClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ms := newMembers(t)
		a, b := ms.pair(PoolConfig{})
		c := a.get(t, b)
		c.Hold()
		hole := ms.sim.listen()
		defer hole.Close()
		silent := PublicOf(newKey(t).Key)
		ms.addrs.Store(silent, addrPort(hole.LocalAddr()))
		failed := make(chan error)
		go func() {
			_, err := a.Get(context.Background(), silent)
			failed <- err
		}()
		time.Sleep(time.Second)
		a.Close()
		want(t, <-failed, ErrClosed)
		a.has(t, 0, 1, 1)
		endedWith(t, c, codeLeaving)
		_, err := a.Get(t.Context(), b.t.PublicKey())
		want(t, err, ErrClosed)
		time.Sleep(time.Second)
		b.has(t, 0, 1, 1)
		endedWith(t, b.first(&b.closed), codeLeaving)

		b.get(t, ms.join(PoolConfig{})) // b is none the worse for it
		late, err := b.t.Dial(t.Context(), a.t.LocalAddr(), a.t.PublicKey())
		check(t, err)
		time.Sleep(time.Second)
		endedWith(t, late, codeLeaving) // accepted by a transport whose pool is closed
	})
}

// Dials beyond MaxDials wait for their turn.
func TestPoolBoundsDials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ms := newMembers(t)
		a := ms.join(PoolConfig{MaxDials: 2})
		for range 6 {
			b := ms.join(PoolConfig{})
			go func() { _, _ = a.Get(t.Context(), b.t.PublicKey()) }()
		}
		synctest.Wait()
		if n := a.dials.Load(); n != 2 {
			t.Errorf("%d dials at once", n)
		}
		time.Sleep(time.Second)
		a.has(t, 6, 6, 0)
	})
}
