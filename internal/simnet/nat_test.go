package simnet

import (
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func sendTo(t *testing.T, c net.PacketConn, to netip.AddrPort) {
	t.Helper()
	if _, err := c.WriteTo([]byte("packet"), net.UDPAddrFromAddrPort(to)); err != nil {
		t.Fatal(err)
	}
}

// source returns the source of the next packet; false if none arrives.
func source(t *testing.T, c net.PacketConn) (netip.AddrPort, bool) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(time.Second))
	var b [100]byte
	_, from, err := c.ReadFrom(b[:])
	if err != nil {
		return netip.AddrPort{}, false
	}
	at, _ := addrPort(from)
	return at, true
}

func TestNAT(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, symmetric := range []bool{false, true} {
			n := New(Options{Delay: time.Millisecond})
			outside, one, other := netip.MustParseAddr("26.0.0.1"), netip.MustParseAddrPort("25.0.0.1:1"), netip.MustParseAddrPort("25.0.1.1:1")
			nat, elsewhere := n.NAT(outside, symmetric), n.NAT(netip.MustParseAddr("26.0.1.1"), symmetric)
			inside, neighbour := netip.MustParseAddrPort("10.0.0.2:5"), netip.MustParseAddrPort("10.0.0.3:5")
			h, h2, a, b := nat.Listen(inside), nat.Listen(neighbour), n.Listen(one), n.Listen(other)

			sendTo(t, h, one)
			first, ok := source(t, a)
			if !ok || first.Addr() != outside {
				t.Fatalf("seen as %v", first)
			}
			sendTo(t, b, first)
			sendTo(t, b, inside)
			if from, ok := source(t, h); ok {
				t.Errorf("%v came in, to which nothing was sent", from)
			}
			sendTo(t, a, first)
			if from, _ := source(t, h); from != one {
				t.Errorf("the answer comes from %v", from)
			}
			sendTo(t, h, other)
			if second, _ := source(t, b); (second == first) == symmetric {
				t.Errorf("symmetric %v: seen as %v and %v", symmetric, first, second)
			}
			sendTo(t, h2, inside)
			if from, _ := source(t, h); from != neighbour {
				t.Errorf("the neighbour is %v", from)
			}

			nat.Reset()
			sendTo(t, a, first)
			if _, ok := source(t, h); ok {
				t.Error("a mapping outlived a reset")
			}
			sendTo(t, h, one)
			if again, _ := source(t, a); again == first || again.Addr() != outside {
				t.Errorf("seen as %v, after the reset as %v", first, again)
			}

			elsewhere.Attach(inside.Addr())
			sendTo(t, h, one)
			moved, _ := source(t, a)
			if moved.Addr() != elsewhere.outside {
				t.Errorf("after a move seen as %v", moved)
			}
			n.Part(one.Addr(), elsewhere.outside)
			sendTo(t, h, one)
			sendTo(t, a, moved)
			if _, ok := source(t, a); ok {
				t.Error("a packet to where it cannot go")
			}
			if _, ok := source(t, h); ok {
				t.Error("a packet from where it cannot come")
			}
			n.Join(one.Addr(), elsewhere.outside)
			sendTo(t, h, one)
			if _, ok := source(t, a); !ok {
				t.Error("joined again, nothing comes")
			}

			p, err := h.(interface {
				OpenPort() (net.PacketConn, error)
			}).OpenPort()
			if err != nil {
				t.Fatal(err)
			}
			sendTo(t, p, one)
			if at, _ := source(t, a); at.Addr() != elsewhere.outside || at == moved {
				t.Errorf("another socket is seen as %v", at)
			}
			n.Close()
		}
	})
}
