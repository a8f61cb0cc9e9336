package quic

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestDatagrams(t *testing.T) {
	inBoth(t, 0, func(t *testing.T, h *hub, listen func() net.PacketConn) {
		x, y := h.start(t, h.config(t), listen()), start(t, newKey(t), listen())
		c, d := connect(t, x, y)
		for _, ends := range [][2]*Conn{{c, d}, {d, c}} {
			for _, size := range []int{0, 1, 600, ends[0].MaxDatagram()} {
				b := bytes.Repeat([]byte{byte(size)}, size)
				if !ends[0].SendDatagram(b) {
					t.Fatalf("%d bytes were dropped", size)
				}
				clear(b) // it is copied
				got, err := ends[1].ReceiveDatagram(t.Context())
				check(t, err)
				if !bytes.Equal(got, bytes.Repeat([]byte{byte(size)}, size)) {
					t.Errorf("%d bytes came as %d others", size, len(got))
				}
			}
			if ends[0].SendDatagram(make([]byte, ends[0].MaxDatagram()+1)) {
				t.Error("one too large was taken")
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := c.ReceiveDatagram(ctx)
		want(t, err, context.Canceled)
		check(t, c.Close(7, ""))
		<-d.Done()
		_, err = c.ReceiveDatagram(t.Context())
		want(t, err, ErrClosed)
		_, err = d.ReceiveDatagram(t.Context())
		if ce, ok := errors.AsType[*CloseError](err); !ok || ce.Code != 7 {
			t.Errorf("error %v", err)
		}
	})
}

// "SendDatagram never blocks": on a path that carries nothing more, datagrams are
// dropped, a bounded number waits, and the end of the connection ends all of it.
func TestDatagramsAreDropped(t *testing.T) {
	for _, how := range []string{"conn", "transport", "recovers"} {
		synctest.Test(t, func(t *testing.T) {
			s := newSim(t, 10*time.Millisecond)
			cut := &atomic.Bool{}
			x, y := start(t, newKey(t), &scissors{s.listen(), cut}), s.transport()
			c, d := connect(t, x, y)
			time.Sleep(time.Second)
			cut.Store(true)
			begin, taken := time.Now(), uint64(0)
			for range 10_000 {
				if c.SendDatagram(binary.BigEndian.AppendUint64(make([]byte, 1000), taken)) {
					taken++
				}
			}
			if took := time.Since(begin); took != 0 || taken == 0 || taken > 400 {
				t.Errorf("%d were taken, in %v", taken, took)
			}
			switch how {
			case "conn":
				check(t, c.Close(0, ""))
			case "transport":
				check(t, x.Close())
			case "recovers":
				time.Sleep(time.Second)
				cut.Store(false)
				for c.MaxDatagram() > 0 {
					for !c.SendDatagram([]byte("the last")) {
						time.Sleep(time.Millisecond)
					}
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					b, err := d.ReceiveDatagram(ctx)
					cancel()
					if err == nil && string(b) == "the last" {
						return
					}
				}
			}
			<-c.Done()
			if c.SendDatagram([]byte("too late")) {
				t.Error("a datagram was taken after the end")
			}
		})
	}
}

// They come in order where the network keeps it.
func TestDatagramsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 10*time.Millisecond)
		x, y := s.transport(), s.transport()
		c, d := connect(t, x, y)
		const n = 2000
		go func() {
			for i := range uint64(n) {
				for !c.SendDatagram(binary.BigEndian.AppendUint64(make([]byte, 500), i)) && c.alive() {
					time.Sleep(time.Millisecond)
				}
			}
		}()
		came := 0
		for last := uint64(0); last < n/2; came++ { // what we are too slow for is lost
			b, err := d.ReceiveDatagram(t.Context())
			check(t, err)
			got := binary.BigEndian.Uint64(b[500:])
			if got <= last && came > 0 {
				t.Fatalf("%d came after %d", got, last)
			}
			last = got
		}
		if came < n/4 {
			t.Errorf("only %d came", came)
		}
		check(t, c.Close(0, ""))
	})
}

func TestVirtualHasNoDatagrams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 10*time.Millisecond)
		h := &hub{delay: 10 * time.Millisecond}
		x, y := h.start(t, h.config(t), s.listen()), h.start(t, h.config(t), s.listen())
		c, d := call(t, x, y)
		for _, c := range []*Conn{c, d} {
			if c.MaxDatagram() != 0 || c.SendDatagram([]byte("no")) {
				t.Error("it takes datagrams")
			}
			_, err := c.ReceiveDatagram(t.Context())
			want(t, err, errNoDatagrams)
		}
	})
}
