package quic

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// "Close closes each connection with a code before the transport."
func TestCloseSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := newSim(t, 10*time.Millisecond)
		x, y := sim.transport(), sim.transport()
		c, d := connect(t, x, y)
		queued, err := x.Dial(t.Context(), y.LocalAddr(), y.PublicKey()) // never accepted
		check(t, err)
		time.Sleep(time.Second)
		s, _ := streams(t, c, d)
		check(t, y.Close())

		var e *CloseError
		for _, c := range []*Conn{c, queued} {
			<-c.Done()
			if !errors.As(c.Err(), &e) || e.Code != 77 || !e.Remote {
				t.Errorf("the dialler saw %v", c.Err())
			}
			if errors.Is(c.Err(), net.ErrClosed) {
				t.Error("the peer's close passes for our own")
			}
		}
		_, err = s.Read(make([]byte, 1))
		if !errors.As(err, &e) || e.Code != 77 {
			t.Errorf("a read says %v", err)
		}

		want(t, d.Err(), ErrClosed)
		want(t, d.Err(), net.ErrClosed)
		_, err = y.Accept(t.Context())
		want(t, err, ErrClosed)
		_, err = y.Dial(t.Context(), x.LocalAddr(), x.PublicKey())
		want(t, err, ErrClosed)
		_, err = d.OpenStream(t.Context())
		want(t, err, ErrClosed)
		check(t, y.Close()) // once more does nothing
	})
}

func TestCloseOneConnection(t *testing.T) {
	x, y := newLoopback(t, "127.0.0.1"), newLoopback(t, "127.0.0.1")
	c, d := connect(t, x, y)
	if c.Err() != nil {
		t.Errorf("while it lives Err is %v", c.Err())
	}
	check(t, c.Close(9, "enough"))
	check(t, c.Close(10, "the first counts"))
	<-d.Done()
	var e *CloseError
	if !errors.As(d.Err(), &e) || *e != (CloseError{Code: 9, Reason: "enough", Remote: true}) {
		t.Errorf("the peer saw %v", d.Err())
	}
	if !errors.As(c.Err(), &e) || e.Code != 9 || e.Remote {
		t.Errorf("we saw %v", c.Err())
	}
	want(t, c.Err(), net.ErrClosed)
}

// A dial under way ends with its transport.
func TestCloseEndsDials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 10*time.Millisecond)
		x, hole := s.transport(), s.listen()
		defer hole.Close()
		failed := make(chan error)
		go func() {
			_, err := x.Dial(context.Background(), addrPort(hole.LocalAddr()), PublicOf(newKey(t).Key))
			failed <- err
		}()
		synctest.Wait()
		check(t, x.Close())
		want(t, <-failed, ErrClosed)
	})
}

// A peer that is gone without a word is noticed; a quiet one is not taken for it.
func TestIdleTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 10*time.Millisecond)
		socket := s.listen()
		y := start(t, newKey(t), socket)
		x := s.transport()
		c, d := connect(t, x, y)
		time.Sleep(time.Hour)
		if c.Err() != nil || d.Err() != nil {
			t.Fatalf("a quiet connection ended: %v, %v", c.Err(), d.Err())
		}
		socket.Close()
		begin := time.Now()
		<-c.Done()
		if took := time.Since(begin); took > 105*time.Second { // a PING after 25, and 75 without an answer
			t.Errorf("noticed after %v", took)
		}
		want(t, c.Err(), ErrTimeout)
	})
}

// A peer that restarts under the same key and address says that it does not know
// us: we need not wait for a timeout.
func TestStatelessReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 10*time.Millisecond)
		config := newKey(t)
		socket := s.listen()
		y := start(t, config, socket)
		x := s.transport()
		c, d := connect(t, x, y)
		open, _ := streams(t, c, d)
		time.Sleep(time.Second) // the reset token is with x
		socket.Close()          // a crash

		s.next = 0 // at the same address
		start(t, config, s.listen())
		go func() { _, _ = open.Write(make([]byte, 100)) }()
		begin := time.Now()
		<-c.Done()
		if took := time.Since(begin); took > time.Second {
			t.Errorf("took %v", took)
		}
		want(t, c.Err(), ErrForgotten)
	})
}

// The functions run at the end of a connection are over when Close returns.
func TestCloseWaitsForEnds(t *testing.T) {
	x, y := newLoopback(t, "127.0.0.1"), newLoopback(t, "127.0.0.1")
	var ends atomic.Int32
	for range 10 {
		c, d := connect(t, x, y)
		c.whenEnded(func() { ends.Add(1) })
		d.whenEnded(func() { ends.Add(1) })
	}
	check(t, x.Close())
	check(t, y.Close())
	if n := ends.Load(); n != 20 {
		t.Errorf("%d ends of 20", n)
	}
	if n := x.budget.taken.Load() + y.budget.taken.Load(); n != 0 {
		t.Errorf("%d bytes of window are still taken", n)
	}
	if len(y.conns) != 0 || y.counts.in != 0 || y.counts.pending != 0 || len(y.counts.from) != 0 {
		t.Errorf("counts are left over: %+v", y.counts)
	}
}

// A socket without deadlines can still be closed.
func TestCloseWithoutDeadlines(t *testing.T) {
	u := listenLoopback(t, "127.0.0.1")
	x := start(t, newKey(t), noDeadlines{u})
	y := newLoopback(t, "127.0.0.1")
	c, d := connect(t, x, y)
	s, r := streams(t, c, d)
	echo(t, s, r)
	check(t, x.Close())
	_, err := io.ReadAll(r)
	var e *CloseError
	if !errors.As(err, &e) || e.Code != 77 {
		t.Errorf("read: %v", err)
	}
}

type noDeadlines struct{ net.PacketConn }

func (noDeadlines) SetReadDeadline(time.Time) error { return nil }
