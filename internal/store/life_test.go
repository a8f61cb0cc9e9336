package store

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// Kademlia §2.5: one holder of a record republishes, at a random time. The other holders
// receive its STORE and do not republish.
func TestRepublishIsJittered(t *testing.T) {
	src := rand.NewPCG(1, 2)
	gaps, ahead := time.Duration(0), 0
	const rounds = 200
	for i := range rounds {
		h := Held{Received: after(time.Duration(i) * time.Hour), Print: wire.Print{byte(i)}}
		first, second := 2*time.Hour, 2*time.Hour
		for range 20 {
			at := RepublishAt(routing.RandomKey(routing.Key{}, 0, src), h, noon, time.Hour).Sub(h.Received)
			if at < time.Hour || at > time.Hour+15*time.Minute {
				t.Fatalf("republished after %v", at)
			}
			if at < first {
				first, second = at, first
			} else {
				second = min(second, at)
			}
		}
		gaps += second - first
		if second-first > time.Second {
			ahead++
		}
	}
	if mean := gaps / rounds; mean < 20*time.Second || ahead < rounds*9/10 {
		t.Errorf("the first is ahead of the second by %v in the mean, in %d of %d rounds by a second", mean, ahead, rounds)
	}
}

// Records that were held before a restart come due evenly over the hour after it.
func TestRestartIsNoStorm(t *testing.T) {
	self := routing.KeyOf("self")
	var minutes [60]int
	const n = 60_000
	for i := range n {
		h := Held{Received: noon.Add(-time.Duration(i) * time.Second), Print: wire.Print{byte(i), byte(i >> 8), byte(i >> 16)}}
		h.Received = h.Received.Add(-time.Second)
		at := RepublishAt(self, h, noon, time.Hour).Sub(noon)
		if at < 0 || at >= time.Hour {
			t.Fatalf("republished %v after the restart", at)
		}
		minutes[at/time.Minute]++
	}
	for m, count := range minutes {
		if count < n/60*8/10 || count > n/60*12/10 {
			t.Errorf("%d records in minute %d, want about %d", count, m, n/60)
		}
	}
}
