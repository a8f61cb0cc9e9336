package quic

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/nettest"
)

// A stream is a net.Conn in every respect that x/net tests for.
func TestStreamIsNetConn(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	x, y := newLoopback(t, "127.0.0.1"), newLoopback(t, "127.0.0.1")
	c, d := connect(t, x, y)
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		s, r := streams(t, c, d)
		return s, r, func() { s.Close(); r.Close() }, nil
	})
}

func TestCloseWriteEndsOneDirection(t *testing.T) {
	bubble(t, func(t *testing.T, s, r *Stream) {
		_, err := s.Write([]byte("last words"))
		check(t, err)
		check(t, s.CloseWrite())
		b, err := io.ReadAll(r)
		check(t, err)
		if string(b) != "last words" {
			t.Errorf("read %q", b)
		}
		echo(t, r, s)
		_, err = s.Write([]byte{1})
		want(t, err, net.ErrClosed)
	})
}

func TestResetCarriesItsCode(t *testing.T) {
	bubble(t, func(t *testing.T, s, r *Stream) {
		s.Reset(42)
		var e *ResetError
		_, err := r.Read(make([]byte, 1))
		if !errors.As(err, &e) || *e != (ResetError{Code: 42, Remote: true}) {
			t.Errorf("read: %v", err)
		}
		synctest.Wait()
		_, err = r.Write([]byte{1})
		if !errors.As(err, &e) || *e != (ResetError{Code: 42, Remote: true}) {
			t.Errorf("write: %v", err)
		}
		_, err = s.Read(make([]byte, 1))
		if !errors.As(err, &e) || *e != (ResetError{Code: 42}) {
			t.Errorf("our own read: %v", err)
		}
		want(t, err, net.ErrClosed)
		check(t, r.Close())
	})
}

func TestCancelReadStopsTheWriter(t *testing.T) {
	bubble(t, func(t *testing.T, s, r *Stream) {
		failed := make(chan error)
		go func() {
			_, err := s.Write(make([]byte, 8<<20)) // more than any window
			failed <- err
		}()
		synctest.Wait()
		r.CancelRead(5)
		var e *ResetError
		if err := <-failed; !errors.As(err, &e) || *e != (ResetError{Code: 5, Remote: true}) {
			t.Errorf("write: %v", err)
		}
		echo(t, r, s) // the other direction is as it was
	})
}

// "Any blocked Read or Write operations will be unblocked and return errors."
func TestCloseUnblocks(t *testing.T) {
	bubble(t, func(t *testing.T, s, r *Stream) {
		failed := make(chan error, 2)
		go func() {
			_, err := s.Write(make([]byte, 8<<20))
			failed <- err
		}()
		go func() {
			_, err := s.Read(make([]byte, 1))
			failed <- err
		}()
		time.Sleep(time.Second)
		check(t, s.Close())
		for range 2 {
			want(t, <-failed, net.ErrClosed)
		}
		var e *ResetError
		if _, err := io.Copy(io.Discard, r); !errors.As(err, &e) || !e.Remote {
			t.Errorf("the peer read %v from half a write", err)
		}
	})
}

// What was written before Close arrives.
func TestCloseDelivers(t *testing.T) {
	bubble(t, func(t *testing.T, s, r *Stream) {
		go func() {
			_, _ = s.Write(make([]byte, 300<<10))
			s.Close()
		}()
		n, err := io.Copy(io.Discard, r)
		check(t, err)
		if n != 300<<10 {
			t.Errorf("%d bytes came", n)
		}
		time.Sleep(time.Second)
		_, err = r.Write([]byte{1})
		var e *ResetError
		if !errors.As(err, &e) || *e != (ResetError{Remote: true}) {
			t.Errorf("writing to a closed stream: %v", err)
		}
	})
}

func TestDeadlines(t *testing.T) {
	bubble(t, func(t *testing.T, s, _ *Stream) {
		begin := time.Now()
		check(t, s.SetReadDeadline(begin.Add(time.Second)))
		_, err := s.Read(make([]byte, 1))
		want(t, err, os.ErrDeadlineExceeded)
		check(t, s.SetWriteDeadline(begin.Add(3*time.Second)))
		_, err = s.Write(make([]byte, 8<<20))
		want(t, err, os.ErrDeadlineExceeded)
		if took := time.Since(begin); took != 3*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

func TestTryWrite(t *testing.T) {
	bubble(t, func(t *testing.T, s, r *Stream) {
		check(t, s.TryWrite([]byte("some")))
		n := 0
		for s.TryWrite(make([]byte, 1000)) == nil {
			n += 1000
		}
		want(t, s.TryWrite(make([]byte, 1000)), ErrWouldBlock)
		got, err := io.ReadFull(r, make([]byte, n+4))
		check(t, err)
		if n == 0 || got != n+4 {
			t.Errorf("%d bytes fitted, %d came", n, got)
		}
		s.Reset(1)
		want(t, s.TryWrite([]byte{1}), net.ErrClosed)
	})
}

// bubble runs f in virtual time with both ends of one stream.
func bubble(t *testing.T, f func(t *testing.T, opened, accepted *Stream)) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 20*time.Millisecond)
		c, d := connect(t, s.transport(), s.transport())
		opened, accepted := streams(t, c, d)
		if opened.Conn() != c || accepted.RemoteAddr().String() != c.LocalAddr().String() {
			t.Error("a stream does not know where it belongs")
		}
		f(t, opened, accepted)
	})
}
