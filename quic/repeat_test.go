package quic

import (
	"io"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kadquic/kadquic/internal/simnet"
)

// TestPacketsLostOnABrokenPathAreRepeated: the path breaks, and the relay delivers a while later
// only. The message does not wait for QUIC's next probe timeout, and goes by relay no more
// often than it has to.
func TestPacketsLostOnABrokenPathAreRepeated(t *testing.T) {
	for deaf := 600 * time.Millisecond; deaf <= time.Second; deaf += 100 * time.Millisecond {
		synctest.Test(t, func(t *testing.T) {
			net := simnet.New(simnet.Options{Delay: 40 * time.Millisecond})
			h := &hub{delay: 80 * time.Millisecond}
			at := []netip.AddrPort{netip.MustParseAddrPort("25.0.0.1:1"), netip.MustParseAddrPort("25.0.1.1:1")}
			x, y := h.start(t, h.config(t), net.Listen(at[0])), h.start(t, h.config(t), net.Listen(at[1]))
			direct(t, x, y)
			direct(t, y, x)
			a, b := call(t, x, y)
			s, r := streams(t, a, b)
			for range 10 {
				echo(t, s, r)
				echo(t, r, s)
			}
			time.Sleep(time.Second)
			h.bytes.Store(0)
			net.Cut(at[0], at[1])
			h.cut.Store(true)
			time.AfterFunc(deaf, func() { h.cut.Store(false) })
			began := time.Now()
			_, err := s.Write([]byte("hello"))
			check(t, err)
			_, err = io.ReadFull(r, make([]byte, 5))
			check(t, err)
			if took := time.Since(began); took > deaf+h.delay+250*time.Millisecond {
				t.Errorf("deaf for %v: the message took %v", deaf, took)
			}
			time.Sleep(10 * time.Second)
			if n := h.bytes.Load(); n > 64*VirtualPacketSize {
				t.Errorf("%d bytes went by relay", n)
			}
		})
	}
}
