package node

import (
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/wire"
)

// A node that seems to be behind a NAT does not relay, because callers would not reach it. Once a peer
// sees it at one of its own addresses, it may relay.
func TestNodeBehindNATDoesNotRelay(t *testing.T) {
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		n := s.nodes[0]
		first, second := s.stranger(0), s.stranger(1)
		first.hello.Observed = wire.AddrFrom(host(77)) // where the NAT would be
		n.self.MarkContacted(first.at, time.Now())     // by whose answer it comes in
		k := first.meet(n)
		if got, ok := k.ask(wire.Reserve{}).(wire.Error); !ok || got.Code != wire.CodeUnimplemented {
			t.Errorf("a node that is seen elsewhere answers %+v", got)
		}
		second.hello.Observed = n.addrs()[0]
		l := second.meet(n)
		for who, k := range map[string]*talk{"first": k, "second": l} {
			if got, ok := k.ask(wire.Reserve{}).(wire.Reserved); !ok || got.Lifetime <= 0 {
				t.Errorf("a node that is seen where it is answers the %s %+v", who, got)
			}
		}
	})
}
