package simnet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	alice = netip.MustParseAddrPort("192.0.2.1:4774")
	bob   = netip.MustParseAddrPort("192.0.2.2:4774")
	carol = netip.MustParseAddrPort("[2001:db8::3]:4774")
)

// inBubble runs f with a network, in virtual time.
func inBubble(t *testing.T, o Options, f func(t *testing.T, n *Network)) {
	synctest.Test(t, func(t *testing.T) {
		n := New(o)
		defer n.Close()
		f(t, n)
	})
}

func send(t *testing.T, c net.PacketConn, to netip.AddrPort, text string) {
	t.Helper()
	if _, err := c.WriteTo([]byte(text), net.UDPAddrFromAddrPort(to)); err != nil {
		t.Fatalf("send %q to %v: %v", text, to, err)
	}
}

// receive returns the next packet within a minute, or "nothing".
func receive(t *testing.T, c net.PacketConn) string {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(time.Minute))
	var b [2000]byte
	n, from, err := c.ReadFrom(b[:])
	if errors.Is(err, os.ErrDeadlineExceeded) {
		if ne, ok := errors.AsType[net.Error](err); !ok || !ne.Timeout() {
			t.Fatalf("a deadline that passes is %v, want a net.Error that says Timeout", err)
		}
		return "nothing"
	}
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s from %v", b[:n], from)
}

func TestPacketTakesDelay(t *testing.T) {
	inBubble(t, Options{Delay: 50 * time.Millisecond}, func(t *testing.T, n *Network) {
		a, b := n.Listen(alice), n.Listen(bob)
		start := time.Now()
		send(t, a, bob, "hello")
		if got := receive(t, b); got != "hello from 192.0.2.1:4774" {
			t.Errorf("bob received %s", got)
		}
		if took := time.Since(start); took != 50*time.Millisecond {
			t.Errorf("it took %v, want 50ms to the nanosecond", took)
		}
	})
}

func TestAddressInIPv6FormIsTheSameHost(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, n *Network) {
		a, b := n.Listen(alice), n.Listen(netip.AddrPortFrom(netip.AddrFrom16(bob.Addr().As16()), bob.Port()))
		send(t, a, bob, "plain")
		if got := receive(t, b); got != "plain from 192.0.2.1:4774" {
			t.Errorf("bob received %s", got)
		}
		b.WriteTo([]byte("mapped"), &net.UDPAddr{IP: net.IP(alice.Addr().AsSlice()).To16(), Port: 4774})
		if got := receive(t, a); got != "mapped from 192.0.2.2:4774" {
			t.Errorf("alice received %s", got)
		}
	})
}

func TestJitterStaysInItsBoundsAndReorders(t *testing.T) {
	inBubble(t, Options{Delay: 10 * time.Millisecond, Jitter: 10 * time.Millisecond, Seed: 1}, func(t *testing.T, n *Network) {
		a, b := n.Listen(alice), n.Listen(bob)
		start := time.Now()
		for i := range 20 {
			send(t, a, bob, fmt.Sprintf("%02d", i))
		}
		last, reordered := "", false
		for range 20 {
			got := receive(t, b)
			if d := time.Since(start); d < 10*time.Millisecond || d > 20*time.Millisecond {
				t.Errorf("%s took %v, want 10ms to 20ms", got, d)
			}
			reordered = reordered || got < last
			last = got
		}
		if !reordered {
			t.Error("twenty packets with jitter arrived in the order sent")
		}
	})
}

// losses sends count packets and returns which did not arrive.
func losses(t *testing.T, o Options, count int) (lost string) {
	inBubble(t, o, func(t *testing.T, n *Network) {
		a, b := n.Listen(alice), n.Listen(bob)
		for i := range count {
			send(t, a, bob, fmt.Sprint(i))
			if receive(t, b) == "nothing" {
				lost += fmt.Sprint(i, " ")
			}
		}
		s := n.Stats()
		if s.Sent != uint64(count) || s.Delivered+s.Lost != s.Sent {
			t.Errorf("counted %+v of %d packets", s, count)
		}
		if part := float64(s.Lost) / float64(s.Sent); part < o.Loss-0.03 || part > o.Loss+0.03 {
			t.Errorf("lost %.3f of the packets, want about %v", part, o.Loss)
		}
	})
	return lost
}

func TestLossIsFixedBySeed(t *testing.T) {
	first := losses(t, Options{Loss: 0.05, Seed: 7}, 2000)
	if again := losses(t, Options{Loss: 0.05, Seed: 7}, 2000); again != first {
		t.Errorf("the same seed lost\n%s, then\n%s", first, again)
	}
	if other := losses(t, Options{Loss: 0.05, Seed: 8}, 2000); other == first {
		t.Error("another seed lost the same packets")
	}
}

func TestPartitionHeals(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, n *Network) {
		a, b, c := n.Listen(alice), n.Listen(bob), n.Listen(carol)
		n.Partition([]netip.AddrPort{alice, bob}) // carol is in no group and so apart
		send(t, a, bob, "within")
		if got := receive(t, b); got != "within from 192.0.2.1:4774" {
			t.Errorf("within one side: %s", got)
		}
		send(t, a, carol, "across")
		send(t, c, alice, "across")
		if x, y := receive(t, c), receive(t, a); x != "nothing" || y != "nothing" {
			t.Errorf("across the cut: %s; %s", x, y)
		}
		if s := n.Stats(); s.Parted != 2 {
			t.Errorf("%d packets counted as cut off, want 2", s.Parted)
		}
		n.Heal()
		send(t, a, carol, "after")
		if got := receive(t, c); got != "after from 192.0.2.1:4774" {
			t.Errorf("after healing: %s", got)
		}
	})
}

func TestKillIsSilent(t *testing.T) {
	inBubble(t, Options{Delay: time.Second}, func(t *testing.T, n *Network) {
		a, b := n.Listen(alice), n.Listen(bob)
		send(t, a, bob, "on its way when bob dies")
		<-time.After(time.Millisecond)
		n.Kill(bob)
		send(t, a, bob, "sent to the dead")
		send(t, b, alice, "sent by the dead, who does not know")
		if x, y := receive(t, a), receive(t, b); x != "nothing" || y != "nothing" {
			t.Errorf("alice received %s, bob %s", x, y)
		}
		b.Close()
		again := n.Listen(bob)
		send(t, a, bob, "welcome back")
		if got := receive(t, again); got != "welcome back from 192.0.2.1:4774" {
			t.Errorf("after a new Listen: %s", got)
		}
	})
}

func TestSendWithoutReceiverIsNoError(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, n *Network) {
		a := n.Listen(alice)
		send(t, a, bob, "anybody?")
		synctest.Wait()
		if s := n.Stats(); s.Strays != 1 {
			t.Errorf("counted %+v, want one stray", s)
		}
	})
}

func TestTooLargeVanishes(t *testing.T) {
	inBubble(t, Options{MTU: 1280}, func(t *testing.T, n *Network) {
		a, b := n.Listen(alice), n.Listen(bob)
		send(t, a, bob, string(make([]byte, 1281)))
		if got := receive(t, b); got != "nothing" {
			t.Errorf("1281 bytes passed where 1280 may: %s", got)
		}
		send(t, a, bob, string(make([]byte, 1280)))
		if got := receive(t, b); got == "nothing" {
			t.Error("1280 bytes did not pass")
		}
	})
}

func TestCloseEndsReadAndFreesAddress(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, n *Network) {
		a := n.Listen(alice)
		done := make(chan error)
		go func() {
			_, _, err := a.ReadFrom(make([]byte, 10))
			done <- err
		}()
		synctest.Wait()
		a.Close()
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Errorf("a read that Close ends gives %v, want net.ErrClosed", err)
		}
		if _, err := a.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(bob)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a write after Close gives %v, want net.ErrClosed", err)
		}
		n.Listen(alice)
	})
}

// An unread socket must block neither its senders nor Close.
func TestCloseWithUnreadPackets(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, n *Network) {
		a, b := n.Listen(alice), n.Listen(bob)
		for range 1000 {
			send(t, a, bob, "unread")
		}
		synctest.Wait()
		b.Close()
		a.Close()
	})
}

func TestListenTwicePanics(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, n *Network) {
		n.Listen(alice)
		defer func() {
			if recover() == nil {
				t.Error("two sockets listen at one address")
			}
		}()
		n.Listen(alice)
	})
}
