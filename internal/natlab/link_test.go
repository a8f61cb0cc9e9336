package natlab

import (
	"io"
	"net"
	"net/netip"
	"testing"
	"time"
)

func TestSchedule(t *testing.T) {
	start := time.Unix(0, 0)
	t.Run("delay", func(t *testing.T) {
		s := schedule{link: Link{Delay: 40 * time.Millisecond}}
		for _, at := range []time.Duration{0, 0, time.Second} {
			if due, ok := s.next(start.Add(at), 1500); !ok || due.Sub(start) != at+40*time.Millisecond {
				t.Errorf("sent at %v, arrives at %v", at, due.Sub(start))
			}
		}
	})
	t.Run("jitter keeps the order", func(t *testing.T) {
		s := schedule{link: Link{Delay: time.Millisecond, Jitter: time.Second}}
		var last, low, high time.Time
		for i := range 1000 {
			due, ok := s.next(start, 100)
			if !ok || due.Before(last) {
				t.Fatalf("packet %d arrives %v before another sent earlier", i, last.Sub(due))
			}
			if last = due; i == 0 {
				low = due
			}
			high = due
		}
		if low.Before(start.Add(time.Millisecond)) || high.After(start.Add(1001*time.Millisecond)) || high.Sub(low) < time.Millisecond {
			t.Errorf("from %v to %v", low.Sub(start), high.Sub(start))
		}
	})
	t.Run("rate", func(t *testing.T) {
		s := schedule{link: Link{Rate: 8_000_000}} // 1000 bytes a millisecond: the queue is 64 KiB
		n, last := 0, start
		for range 1000 {
			if due, ok := s.next(start, 1000); ok {
				n, last = n+1, due
			}
		}
		if n != 66 || last != start.Add(66*time.Millisecond) {
			t.Errorf("of a burst %d packets arrive in %v", n, last.Sub(start))
		}
	})
	t.Run("loss", func(t *testing.T) {
		s, lost := schedule{link: Link{Loss: 0.2}}, 0
		for range 10000 {
			if _, ok := s.next(start, 1); !ok {
				lost++
			}
		}
		if lost < 1800 || lost > 2200 { // 5 standard deviations
			t.Errorf("%d of 10000 are lost, want 2000", lost)
		}
	})
}

// far is a socket, and another at the far end of a link.
func far(t *testing.T, link Link) (near, far *socket) {
	t.Helper()
	lab := New(t)
	return listen(t, lab.Public("near"), "udp4"), listen(t, lab.Public("far", link), "udp4")
}

func TestDelay(t *testing.T) {
	t.Parallel()
	a, b := far(t, Link{Delay: 30 * time.Millisecond})
	best := time.Hour // a busy machine only makes packets later
	for i, until := 0, time.Now().Add(patience); i < 10 || best > 45*time.Millisecond && time.Now().Before(until); i++ {
		start := time.Now()
		if _, ok := b.await(a.send(b.addr())); !ok {
			t.Fatal("a packet is lost")
		}
		best = min(best, time.Since(start))
	}
	t.Logf("30 ms take %v", best)
	if best < 30*time.Millisecond || best > 45*time.Millisecond {
		t.Errorf("a packet comes after %v, want 30 ms", best)
	}
}

func TestLoss(t *testing.T) {
	t.Parallel()
	a, b := far(t, Link{Loss: 0.2})
	got := 0
	for i := range 20 {
		for range 50 { // few enough for the receive buffer
			a.send(b.addr())
		}
		wait := 50 * time.Millisecond
		if i == 19 {
			wait = time.Second
		}
		for ; ; got++ {
			if _, ok := b.receive(time.Now().Add(wait)); !ok {
				break
			}
		}
	}
	if got < 736 || got > 864 { // 5 standard deviations
		t.Errorf("%d of 1000 packets come, want 800", got)
	}
}

func TestRate(t *testing.T) {
	t.Parallel()
	a, b := far(t, Link{Rate: 8_000_000})
	start := time.Now()
	for range 50 {
		a.WriteToUDPAddrPort(make([]byte, 1000-28), b.addr())
	}
	for i := range 50 {
		if _, ok := b.receive(time.Now().Add(patience)); !ok {
			t.Fatalf("%d of 50 packets come", i)
		}
	}
	if took := time.Since(start); took < 50*time.Millisecond {
		t.Errorf("50 kB at 8 Mbit/s take %v", took)
	}
}

// A TCP stream over a link of each of the two makes.
func BenchmarkLink(b *testing.B) {
	for name, link := range map[string]Link{"veth": {}, "wire": {Delay: 5 * time.Millisecond}} {
		b.Run(name, func(b *testing.B) {
			lab := New(b)
			sink, source := lab.Public("sink"), lab.Public("source", link)
			var l net.Listener
			if err := sink.Do(func() (err error) { l, err = net.Listen("tcp4", ":0"); return err }); err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			go func() {
				if c, err := l.Accept(); err == nil {
					io.Copy(io.Discard, c)
					c.Close()
				}
			}()
			to := netip.AddrPortFrom(sink.IP4(), uint16(l.Addr().(*net.TCPAddr).Port))
			c, err := source.Dial(b.Context(), "tcp4", to.String())
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			block := make([]byte, 64<<10)
			b.SetBytes(int64(len(block)))
			for b.Loop() {
				if _, err := c.Write(block); err != nil {
					b.Fatal(err)
				}
			}
			c.(*net.TCPConn).CloseWrite()
			io.ReadAll(c) // until the sink has all
		})
	}
}
