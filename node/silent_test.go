package node

import (
	"net/netip"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/simnet"
)

// A connected peer that vanishes without a goodbye is reported within two minutes,
// without any operation of the user's, whichever side has dialled; and again when it
// answers.
func TestTraceTellsOfSilentPeers(t *testing.T) {
	for name, roles := range map[string]struct{ watcher, victim int }{
		"dialler":  {watcher: 2, victim: 1},
		"acceptor": {watcher: 1, victim: 2},
	} {
		t.Run(name, func(t *testing.T) {
			inSwarm(t, 0, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
				var l log
				for i := range 3 {
					c := Config{}
					if i == roles.watcher {
						c.Trace = l.trace()
					}
					s.add(c)
				}
				testSilentPeer(t, s, &l, roles.watcher, roles.victim)
			})
		})
	}
}

func testSilentPeer(t *testing.T, s *testNetwork, l *log, watcher, victim int) {
	id := s.nodes[victim].ID()
	want := func(when string, silent, back int) {
		t.Helper()
		l.mu.Lock()
		defer l.mu.Unlock()
		s, b, gone := 0, 0, 0
		for _, e := range l.peers {
			switch {
			case e.Peer != id || e.Joined:
			case e.Silent:
				s++
			case e.Back:
				b++
			default:
				gone++
			}
		}
		if s != silent || b != back || gone > 0 {
			t.Errorf("%s: %d silent, %d back, %d gone; want %d, %d, 0", when, s, b, gone, silent, back)
		}
	}
	time.Sleep(10 * time.Second)
	want("while it is there", 0, 0)
	s.net.Partition([]netip.AddrPort{host(victim)}, []netip.AddrPort{host(0), host(watcher)})
	time.Sleep(2 * time.Minute)
	want("after it vanished", 1, 0)
	s.net.Heal()
	if _, err := s.nodes[watcher].Ping(within(t, 10*time.Minute), id); err != nil {
		time.Sleep(10 * time.Minute) // the dial backs off
	}
	want("after it came back", 1, 1)
}
