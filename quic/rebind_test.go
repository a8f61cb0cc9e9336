package quic

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kadquic/kadquic/internal/simnet"
)

// TestConnFollowsEveryRebinding: a connection outlives any number of new mappings in the
// client's NAT. quic-go before v0.65 followed two: its server used up one connection ID
// with each (quic-go #5814).
func TestConnFollowsEveryRebinding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := simnet.New(simnet.Options{Delay: 40 * time.Millisecond})
		nat := net.NAT(netip.MustParseAddr("26.0.0.1"), false)
		x := start(t, newKey(t), nat.Listen(netip.MustParseAddrPort("10.0.0.2:4774")))
		y := start(t, newKey(t), net.Listen(netip.MustParseAddrPort("25.0.0.1:4774")))
		a, b := connect(t, x, y)
		s, r := streams(t, a, b)
		for i := range 10 {
			was := b.RemoteAddr()
			nat.Reset()
			began := time.Now()
			echo(t, s, r)
			echo(t, r, s)
			if took := time.Since(began); took > 2*time.Second || b.RemoteAddr() == was {
				t.Fatalf("rebinding %d: an answer after %v; the client was at %v and is at %v", i+1, took, was, b.RemoteAddr())
			}
			time.Sleep(10 * time.Second)
		}
	})
}
