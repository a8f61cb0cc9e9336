package node

import (
	"net"
	"net/netip"
	"testing"

	"github.com/kadquic/kadquic/internal/simnet"
)

// Calls go by the socket that reaches most, wherever it stands in the list.
func TestCallerReachesMost(t *testing.T) {
	for _, order := range [][]string{
		{"127.0.0.1", "192.168.1.5", "203.0.113.5"}, {"::1", "fd00::5", "2601::5"}, {"192.168.1.5", "2601::5"}, {"203.0.113.5", "0.0.0.0", "::"},
	} {
		for i := 1; i < len(order); i++ {
			less, more := netip.MustParseAddr(order[i-1]), netip.MustParseAddr(order[i])
			if socketRank(less, false) >= socketRank(more, false) {
				t.Errorf("%v is preferred to %v", less, more)
			}
		}
	}
	inSwarm(t, 0, simnet.Options{}, func(t *testing.T, s *swarm) {
		at := func(a string) net.PacketConn { return s.net.Listen(netip.MustParseAddrPort(a)) }
		n := s.add(Config{PacketConns: []net.PacketConn{at("127.0.0.1:4774"), at("203.0.113.5:4774"), at("203.0.113.6:4774")}})
		if n.callSocket() != n.transports[1] {
			t.Errorf("calls go by %v", n.callSocket().LocalAddr())
		}
	})
}
