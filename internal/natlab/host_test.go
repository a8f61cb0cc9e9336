package natlab

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestCommand(t *testing.T) {
	t.Parallel()
	h := New(t).Home("host", Linux)
	out, err := h.Command(t.Context(), "ip", "-4", "-o", "addr", "show", "dev", "eth0").CombinedOutput()
	if err != nil || !strings.Contains(string(out), " "+h.IP4().String()+"/24 ") {
		t.Errorf("want %v: %v: %s", h.IP4(), err, out)
	}
	var status *exec.ExitError
	if err := h.Command(t.Context(), "sh", "-c", "exit 7").Run(); !errors.As(err, &status) || status.ExitCode() != 7 {
		t.Errorf("a command that exits with 7: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cmd := h.Command(ctx, "sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := cmd.Wait(); !errors.Is(err, context.Canceled) && !errors.As(err, &status) {
		t.Errorf("a command whose context ends: %v", err)
	}
}

func TestMove(t *testing.T) {
	t.Parallel()
	lab := New(t, Config{Link: Link{Delay: time.Millisecond}})
	v := newServer(t, lab.Public("one"), lab.Public("other"), "udp4")
	home, mobile := lab.NAT("home", PortRestricted), lab.NAT("mobile", Symmetric)
	h := lab.Host("host", home)
	s := listen(t, h, "udp4")
	before, inside := v.observe(t, s, 0), h.IP4()
	h.Move(mobile)
	after := v.observe(t, s, 0) // the same socket: a program need not notice
	if before.Addr() != home.IP4() || after.Addr() != mobile.IP4() || h.IP4() == inside || h.NAT() != mobile {
		t.Errorf("seen as %v, then as %v; inside %v, then %v", before, after, inside, h.IP4())
	}
	h.Cut()
	h.Move(home)
	if again := v.observe(t, s, 0); again.Addr() != home.IP4() {
		t.Errorf("back home it is seen as %v", again)
	}
}

func TestCut(t *testing.T) {
	t.Parallel()
	for _, link := range []Link{{}, {Delay: time.Millisecond}} {
		lab := New(t, Config{Link: link})
		v := newServer(t, lab.Public("one"), lab.Public("other"), "udp4")
		h := lab.Home("host", Linux)
		s := listen(t, h, "udp4")
		mapped := v.observe(t, s, 0)
		for _, n := range []interface {
			Cut()
			Restore()
		}{h, h.NAT()} {
			n.Cut()
			if _, err := s.WriteToUDPAddrPort([]byte("lost"), v.sockets[0].addr()); err != nil {
				t.Errorf("a host that is cut off is told: %v", err)
			}
			v.sockets[0].send(mapped)
			if _, ok := s.receive(time.Now().Add(5 * grace)); ok {
				t.Error("a packet came through a cut")
			}
			n.Restore()
			if again := v.observe(t, s, 0); again != mapped {
				t.Errorf("the mapping was %v, and after a cut is %v", mapped, again)
			}
			v.arrivals(t, s, mapped)
		}
	}
}

func TestCounters(t *testing.T) {
	t.Parallel()
	lab := New(t)
	a, b := lab.Public("a"), lab.Public("b")
	sa, sb := listen(t, a, "udp4"), listen(t, b, "udp6")
	sa4 := listen(t, b, "udp4")
	for range 3 {
		if _, err := sa.WriteToUDPAddrPort(make([]byte, 100), sa4.addr()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := listen(t, a, "udp6").WriteToUDPAddrPort(make([]byte, 10), sb.addr()); err != nil {
		t.Fatal(err)
	}
	if _, ok := sb.receive(time.Now().Add(patience)); !ok {
		t.Fatal("nothing came")
	}
	const bytes = 3*(20+8+100) + 40 + 8 + 10
	if c, err := a.Counters(); err != nil || c != (Counters{OutPackets: 4, OutBytes: bytes}) {
		t.Errorf("the sender counts %+v, %v", c, err)
	}
	if c, err := b.Counters(); err != nil || c != (Counters{InPackets: 4, InBytes: bytes}) {
		t.Errorf("the receiver counts %+v, %v", c, err)
	}
}

// No packet is lost on an interface that is just up, and none waits for the answer to
// a question that is. A busy machine may hold some of them up, but not the same in each
// of several labs.
func TestTheFirstPacketArrivesAtOnce(t *testing.T) {
	t.Parallel()
	type way struct {
		move    bool
		network string
	}
	best := make(map[way]time.Duration)
	for range 3 {
		lab := New(t)
		public, h := lab.Public("public"), lab.Home("home", Linux, Options{IPv6: true})
		other := lab.NAT("other", PortRestricted, Options{IPv6: true})
		for _, move := range []bool{false, true} {
			if move {
				h.Move(other)
			}
			for _, network := range []string{"udp4", "udp6"} {
				from, to := listen(t, h, network), listen(t, public, network)
				start := time.Now()
				got, ok := to.await(from.send(to.addr()))
				if ok {
					_, ok = from.await(to.send(got[0].from))
				}
				if !ok {
					t.Errorf("after a move: %v; by %s a packet is lost", move, network)
				}
				w, took := way{move, network}, time.Since(start)
				if was, again := best[w]; !again || took < was {
					best[w] = took
				}
			}
		}
	}
	for w, took := range best {
		if took > 900*time.Millisecond {
			t.Errorf("after a move: %v; by %s it takes %v", w.move, w.network, took)
		}
	}
}
