package node

import (
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/simnet"
)

// counts writes numbers to a stream that echoes them, until told to stop, and fails if
// one is lost, doubled or out of order.
func counts(t *testing.T, c net.Conn) (stop func() (count uint64, gap time.Duration)) {
	quit, done := make(chan struct{}), make(chan struct{})
	var count uint64
	var gap time.Duration
	go func() {
		defer close(done)
		for tick := time.NewTicker(50 * time.Millisecond); ; <-tick.C {
			select {
			case <-quit:
				tick.Stop()
				return
			default:
			}
			var b [8]byte
			began := time.Now()
			if _, err := c.Write(binary.BigEndian.AppendUint64(nil, count)); err != nil {
				t.Errorf("number %d: %v", count, err)
				return
			}
			if _, err := io.ReadFull(c, b[:]); err != nil || binary.BigEndian.Uint64(b[:]) != count {
				t.Errorf("number %d comes back as %x, %v", count, b, err)
				return
			}
			count++
			gap = max(gap, time.Since(began))
		}
	}()
	return func() (uint64, time.Duration) {
		close(quit)
		<-done
		return count, gap
	}
}

// The way between two peers breaks and is there again, and then the relay dies: the
// stream goes on, with nothing lost, doubled or out of order.
func TestAConversationHeals(t *testing.T) {
	inSwarm(t, 5, simnet.Options{Delay: 20 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		bob, alice := s.add(Config{Mode: ModeClient}), s.add(Config{Mode: ModeClient})
		atBob, atAlice := host(len(s.nodes)-2), host(len(s.nodes)-1)
		echoes(t, bob)
		awaitThat(t, "bob has reservations", func() bool { return len(bob.Relays()) == wantRelays })
		learns(t, alice, bob)
		c, err := alice.Dial(t.Context(), bob.ID(), echoTest)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(10 * time.Minute))
		relayed := func() bool { return c.Path().Kind == PathRelayed }
		awaitThat(t, "the path is direct", func() bool { return !relayed() })
		stop := counts(t, c)
		time.Sleep(2 * time.Second)

		s.net.Cut(atAlice, atBob)
		awaitThat(t, "the path goes by a relay", func() bool { return relayed() || c.Path().Quiet })
		time.Sleep(time.Minute)
		if !relayed() {
			t.Errorf("a minute after the cut the path is %v", c.Path())
		}

		relay := c.Path().Relay
		for i, n := range s.nodes {
			if n.ID() == relay {
				s.kill(i)
			}
		}
		awaitThat(t, "another relay takes over", func() bool { return relayed() && c.Path().Relay != relay })
		time.Sleep(10 * time.Second)

		s.net.Heal()
		awaitThat(t, "the path is direct again", func() bool { return !relayed() })
		time.Sleep(2 * time.Second)
		count, gap := stop()
		t.Logf("%d numbers, the longest gap %v", count, gap)
		if gap > 6*time.Second {
			t.Errorf("the longest gap is %v", gap)
		}
	})
}
