package quic

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"testing"
	"time"
)

// Any code may be given to close a connection or reset a stream; QUIC carries 62 bits of
// it. Neither end panics, and the peer sees the code, or the highest there is.
func TestOutOfRangeCodes(t *testing.T) {
	for _, code := range []uint64{0, 1, 1<<62 - 1, 1 << 62, math.MaxUint64} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			x, y := newLoopback(t, "127.0.0.1"), newLoopback(t, "127.0.0.1")
			c, d := connect(t, x, y)
			seen := min(code, 1<<62-1)
			s, accepted := streams(t, c, d)
			s.Reset(code)
			var reset *ResetError
			if _, err := accepted.Read(make([]byte, 1)); !errors.As(err, &reset) || reset.Code != seen {
				t.Errorf("read: %v", err)
			}
			s, accepted = streams(t, c, d)
			s.CancelRead(code)
			accepted.SetWriteDeadline(time.Now().Add(10 * time.Second))
			for err := error(nil); ; {
				if _, err = accepted.Write(make([]byte, 100)); err == nil {
					continue
				}
				if !errors.As(err, &reset) || reset.Code != seen {
					t.Errorf("write: %v", err)
				}
				break
			}
			c.Close(code, string(make([]byte, 1<<16)))
			<-d.Done()
			var closed *CloseError
			if err := d.Err(); !errors.As(err, &closed) || closed.Code != seen {
				t.Errorf("closed: %v", err)
			}
		})
	}
}

// A Config with zero, negative or huge values is refused, or makes a transport that works.
func TestInvalidConfigs(t *testing.T) {
	y := newLoopback(t, "127.0.0.1")
	for i, change := range []func(*Config, int){
		func(c *Config, n int) { c.HandshakeTimeout = time.Duration(n) },
		func(c *Config, n int) { c.IdleTimeout = time.Duration(n) },
		func(c *Config, n int) { c.KeepAlive = time.Duration(n) },
		func(c *Config, n int) { c.MaxPending = n },
		func(c *Config, n int) { c.MaxStreams = n },
		func(c *Config, n int) { c.MaxIn = n },
		func(c *Config, n int) { c.WindowBudget = int64(n) },
		func(c *Config, n int) { c.CloseLeaving, c.CloseBusy = uint64(n), uint64(n) },
	} {
		for _, n := range []int{-1, math.MinInt, math.MaxInt} {
			c := newKey(t)
			change(&c, n)
			c.Conn = listenLoopback(t, "127.0.0.1")
			x, err := NewTransport(c)
			if err != nil {
				continue // refused
			}
			dialled, accepted := connect(t, x, y)
			streams(t, dialled, accepted)
			dialled, accepted = connect(t, y, x)
			streams(t, dialled, accepted)
			if err := x.Close(); err != nil {
				t.Errorf("field %d = %d: close: %v", i, n, err)
			}
		}
	}
	for _, c := range []Config{{}, {ALPN: "x"}, {Key: make([]byte, 3), ALPN: "x"}} {
		if _, err := NewTransport(c); err == nil {
			t.Errorf("%+v makes a transport", c)
		}
	}
}

// Calls with an ended context, or with arguments that name no peer, return an error.
func TestInvalidArguments(t *testing.T) {
	x, y := newLoopback(t, "127.0.0.1"), newLoopback(t, "127.0.0.1")
	c, _ := connect(t, x, y)
	p := NewPool(PoolConfig{Self: x.PublicKey(), Dial: func(ctx context.Context, k PublicKey) (*Conn, error) {
		return x.Dial(ctx, y.LocalAddr(), k)
	}, MaxIn: math.MaxInt, MaxOut: math.MaxInt, IdleDialled: math.MaxInt64, IdleAccepted: math.MinInt64, DialTimeout: math.MaxInt64, Linger: math.MaxInt64})
	defer p.Close()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	short, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	second := func(_ any, err error) error { return err }
	for name, err := range map[string]error{
		"Dial":            second(x.Dial(ended, y.LocalAddr(), y.PublicKey())),
		"Accept":          second(x.Accept(ended)),
		"OpenStream":      second(c.OpenStream(ended)),
		"AcceptStream":    second(c.AcceptStream(ended)),
		"Get":             second(p.Get(ended, y.PublicKey())),
		"ReceiveDatagram": second(c.ReceiveDatagram(ended)),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s with an ended context: %v", name, err)
		}
	}
	for name, err := range map[string]error{
		"Dial nowhere":        second(x.Dial(short, netip.AddrPort{}, y.PublicKey())),
		"Dial port 0":         second(x.Dial(short, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), 0), y.PublicKey())),
		"Dial nobody":         second(x.Dial(short, y.LocalAddr(), PublicKey{})),
		"ParseListen nothing": second(ParseListen(nil)),
		"Resolve nothing":     second(Resolve(short, nil)),
		"LoadKey nothing":     second(LoadKey("")),
		"LoadKey a directory": second(LoadKey(t.TempDir())),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if c, err := p.Get(short, y.PublicKey()); err != nil {
		t.Errorf("a pool with huge limits: %v", err)
	} else if s, err := c.OpenStream(short); err != nil {
		t.Errorf("open a stream: %v", err)
	} else {
		for _, b := range [][]byte{nil, {}} {
			if n, err := s.Write(b); n != 0 || err != nil {
				t.Errorf("write nothing: %d, %v", n, err)
			}
			if n, err := s.Read(b); n != 0 || err != nil && err != io.EOF {
				t.Errorf("read nothing: %d, %v", n, err)
			}
			if n, err := s.Peek(b); n != 0 || err != nil {
				t.Errorf("peek nothing: %d, %v", n, err)
			}
		}
		s.Close()
	}
	if c.SendDatagram(nil); c.SendDatagram(make([]byte, 1<<16)) {
		t.Error("a datagram of 64 KiB was sent")
	}
}
