package node

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/quic"
)

// A node whose machine sends from another address than before has moved: it connects again to some of
// its peers, and earlier reports of its address no longer count. The same address is not a
// move, and neither is the loss of all addresses.
func TestAMoveIsNoticed(t *testing.T) {
	here, elsewhere := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("10.9.9.9")
	for name, c := range map[string]struct {
		to, from netip.Addr // the destination, and the source address that the machine chose
		moved    bool
	}{
		"moved":          {here, elsewhere, true},
		"not moved":      {here, here, false},
		"no address now": {netip.MustParseAddr("fe80::1"), elsewhere, false}, // without a zone no machine sends there
	} {
		t.Run(name, func(t *testing.T) {
			inAskingSwarm(t, 6, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, a *askers) {
				n := a.make(Config{})
				n.fresh = a.fresh.listen
				if err := n.open(); err != nil {
					t.Fatal(err)
				}
				n.onMachine = true // as if the sockets were real; then goes on as Start does
				for _, tr := range n.transports {
					n.spawn(func() { n.accept(tr) })
				}
				for _, task := range n.tasks() {
					n.spawn(func() { task.run(n.ctx) })
				}
				if err := n.joiner.Join(within(t, time.Minute)); err != nil {
					t.Fatal(err)
				}
				time.Sleep(5 * time.Second)
				before := map[*quic.Conn]bool{}
				for _, l := range n.links.all() {
					before[l.conn] = true
				}
				synctest.Wait() // or a look of this very moment would replace the addresses below
				n.reachProbe.mu.Lock()
				n.reachProbe.sourceAddrs = map[bool]sourceAddr{true: {to: c.to, from: c.from}}
				n.reachProbe.mu.Unlock()
				n.reachProbe.poke()
				anew := func() (count int) {
					for _, l := range n.links.all() {
						if !before[l.conn] && l.conn.Dialled() {
							count++
						}
					}
					return count
				}
				for began := time.Now(); time.Since(began) < time.Minute && anew() < maxRelinked; {
					time.Sleep(time.Second)
				}
				if (anew() >= maxRelinked) != c.moved || anew() > 0 && !c.moved {
					t.Errorf("%d peers were connected to anew", anew())
				}
				n.reachProbe.mu.Lock()
				from := n.reachProbe.sourceAddrs[true].from
				n.reachProbe.mu.Unlock()
				if c.moved && from != here {
					t.Errorf("the machine is said to send from %v", from)
				}
			})
		})
	}
}
