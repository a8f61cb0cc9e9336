package natlab

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The path takes what fits and says of the rest that it is too big.
func TestMTU(t *testing.T) {
	t.Parallel()
	for _, link := range []Link{{MTU: 1280}, {MTU: 1280, Delay: time.Millisecond}} {
		lab := New(t)
		near, behind := lab.Public("near"), lab.Home("host", Linux, Options{Link: link})
		v := newServer(t, near, near, "udp4")
		s := listen(t, behind, "udp4")
		mapped := v.observe(t, s, 0)
		a := v.sockets[0]
		if err := dontFragment(a.UDPConn); err != nil {
			t.Fatal(err)
		}
		fits := func(size int) bool {
			a.WriteToUDPAddrPort(make([]byte, size-28), mapped)
			got := v.arrivals(t, s, mapped)
			return len(got) == 1
		}
		if !fits(1280) {
			t.Error("1280 bytes do not fit")
		}
		if fits(1281) {
			t.Error("1281 bytes fit")
		}
		if _, err := a.WriteToUDPAddrPort(make([]byte, 1281-28), mapped); err == nil {
			t.Error("the sender is not told")
		}
	}
}

// dontFragment has a socket send no packet in pieces.
func dontFragment(c *net.UDPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
	})
	if err != nil {
		return err
	}
	return failed
}
