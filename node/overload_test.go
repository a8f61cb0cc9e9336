package node

import (
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/wire"
)

// Many pairs that start at once on one relay are connected within half a minute, and after
// a minute the relay has less than a call a second for twenty pairs: also while so much is
// lost on the way that paths seem to break again and again, as on machines that have too
// much to do.
func TestManyPairsOnOneRelay(t *testing.T) {
	const pairs = 10
	inSwarm(t, 1, simnet.Options{Delay: 40 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		relay := s.nodes[0]
		var callers, callees []*household
		for i := range pairs {
			callers = append(callers, s.householdAt(1, i%2 == 0, Config{}))
			callees = append(callees, s.householdAt(1, i%4 < 2, Config{}))
		}
		began := time.Now()
		var wg, talks sync.WaitGroup
		quit := make(chan struct{})
		var mu sync.Mutex
		var slowest time.Duration
		for i, a := range callers {
			wg.Go(func() {
				learns(t, a.Node, callees[i].Node)
				c, err := a.Dial(t.Context(), callees[i].ID(), echoTest)
				if err != nil {
					t.Error(err)
					return
				}
				said(t, c, "hello")
				mu.Lock()
				slowest = max(slowest, time.Since(began))
				mu.Unlock()
				c.SetDeadline(time.Time{})
				talks.Go(func() { // one side sends every three seconds
					defer c.Close()
					for b := make([]byte, 1); ; {
						select {
						case <-time.After(3 * time.Second):
						case <-quit:
							return
						}
						if _, err := c.Write(b); err != nil {
							return
						}
						if _, err := c.Read(b); err != nil {
							return
						}
					}
				})
			})
		}
		wg.Wait()
		t.Logf("all %d pairs are connected after %v, by %d calls", pairs, slowest, relay.Stats().Relay.Calls)
		if slowest > 30*time.Second {
			t.Errorf("connected after %v", slowest)
		}
		rate := func(over time.Duration) float64 {
			was := relay.Stats().Relay
			time.Sleep(over)
			is := relay.Stats().Relay
			return float64(is.Calls+is.Refused-was.Calls-was.Refused) / over.Seconds()
		}
		const most = pairs / 20.0 // calls a second
		t.Logf("calls a second in the first minute: %.2f", rate(time.Minute))
		if r := rate(time.Minute / 2); r >= most {
			t.Errorf("calls a second after a minute: %.2f", r)
		}
		s.net.SetLoss(0.4)
		t.Logf("calls a second in the first minute of heavy loss: %.2f", rate(time.Minute))
		if r := rate(time.Minute / 2); r >= most {
			t.Errorf("calls a second after a minute of heavy loss: %.2f", r)
		}
		s.net.SetLoss(0)
		close(quit)
		talks.Wait()
	})
}

// A conversation whose NAT becomes a symmetric one, as when a host moves to another
// network, goes on by one relay: the path does not change with each call that looks for
// a direct one.
func TestPathStaysAtOneRelay(t *testing.T) {
	inSwarm(t, 6, simnet.Options{Delay: 40 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		var log pathLog
		alice, bob := s.household(false, Config{Trace: log.trace()}), s.household(false, Config{})
		alice.other = s.net.NAT(netip.MustParseAddr("26.9.0.1"), true)
		talk := s.talk(alice.Node, bob.Node, "both", false)
		if p, _ := alice.Conn(bob.ID()); p.Path.Kind != PathPunched {
			t.Errorf("the path is %v", p)
		}
		alice.move()
		time.Sleep(30 * time.Second)
		talk.end()
		log.mu.Lock()
		defer log.mu.Unlock()
		relays := make(map[wire.PeerID]int)
		changes := 0
		for i, e := range log.paths {
			if i > 0 && e.Path.Kind == PathRelayed && e.Was.Kind == PathRelayed {
				changes++
				relays[e.Path.Relay]++
			}
			t.Log(e)
		}
		if changes > 2 {
			t.Errorf("the path went from relay to relay %d times: %v", changes, relays)
		}
	})
}
