package node

import (
	"net/netip"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/wire"
)

// A vote lives while its connection does, and ten minutes longer.
func TestVotesLiveAsConnectionsDo(t *testing.T) {
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		n := s.nodes[0]
		mapped := wire.AddrFrom(netip.MustParseAddrPort("93.184.216.34:1234"))
		votes := func() int {
			ap, _ := mapped.AddrPort()
			return reachOf(n, ap).Votes
		}
		var talks []*talk
		for i := range 2 {
			x := s.stranger(i)
			x.hello.Observed = mapped
			x.hello.Mode = wire.ModeClient // a client gets no requests
			talks = append(talks, x.meet(n))
		}
		for range 60 { // an hour, in which only one has anything to say
			talks[0].ask(wire.Ping{})
			time.Sleep(15 * time.Second)
			talks[0].ask(wire.Ping{})
			time.Sleep(15 * time.Second)
			talks[0].ask(wire.Ping{})
			time.Sleep(30 * time.Second)
		}
		if votes() != 1 {
			t.Errorf("after an hour %d votes, want that of the one who stayed", votes())
		}
		talks[0].conn.Close(wire.CloseNone, "")
		time.Sleep(9 * time.Minute)
		if votes() != 1 {
			t.Error("the vote ends with its connection")
		}
		time.Sleep(4 * time.Minute)
		if votes() != 0 {
			t.Error("the vote never ends")
		}
	})
}

func ipv4(a, b, c, d byte) netip.Addr { return netip.AddrFrom4([4]byte{a, b, c, d}) }
