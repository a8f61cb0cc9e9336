//go:build darwin || freebsd

package quic

import (
	"errors"
	"net"
	"os"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// bsdUDP reads by x/net: one packet at a time on macOS, which has no recvmmsg.
type bsdUDP struct {
	*udp
	batch *ipv4.PacketConn // reads IPv6 just as well
}

func wrapUDP(u *udp) net.PacketConn {
	return &bsdUDP{udp: u, batch: ipv4.NewPacketConn(u.UDPConn)}
}

// ReadBatch waits for packets. It returns at least one, or an error that lasts:
// quic-go would take a stale slot for a packet else.
func (s *bsdUDP) ReadBatch(ms []ipv4.Message, flags int) (int, error) {
	for failures := 0; ; failures++ {
		n, err := s.batch.ReadBatch(ms, flags)
		if n > 0 {
			if s.paths == nil {
				return n, nil
			}
			if n = s.paths.sift(ms, n); n > 0 {
				return n, nil
			}
			continue
		}
		for _, lasting := range []error{net.ErrClosed, os.ErrDeadlineExceeded, unix.EBADF, unix.ENOTSOCK, unix.EINVAL, unix.EFAULT} {
			if errors.Is(err, lasting) {
				return 0, err
			}
		}
		if failures > 10 { // memory is short, say
			time.Sleep(time.Millisecond)
		}
	}
}

// enlarge has nothing to add: there is no way beyond the system's limit.
func enlarge(*net.UDPConn, bool, int) {}
