package node

import (
	"sync"
	"time"

	"github.com/kadquic/kadquic/routing"
)

// linkRTT is the round-trip estimate of one link, or of many together: of the
// network as a whole, for peers of which nothing is known. Goroutines may share
// it.
type linkRTT struct {
	mu    sync.Mutex
	rtt   routing.RTT
	count int // of round trips observed
}

func (r *linkRTT) observe(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rtt.Observe(d)
	r.count++
}

func (r *linkRTT) get() routing.RTT {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rtt
}

// within returns the estimate of one link in a network with this deviation. The first
// few round trips of a link say little of its own deviation (RFC 6298 begins with
// half the round trip), so that it is taken for at most twice the network's.
func (r *linkRTT) within(network routing.RTT) routing.RTT {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.count >= fewRTTs || !network.Known() {
		return r.rtt
	}
	least := r.rtt.Smoothed() / 16
	return routing.NewRTT(r.rtt.Smoothed(), min(r.rtt.Deviation(), max(2*network.Deviation(), least)))
}

// fewRTTs is after how many round trips the deviation of a link is its own.
const fewRTTs = 8

// timeout is how long to wait for an answer: 1 second while nothing is known.
func (r *linkRTT) timeout(floor, ceiling time.Duration) time.Duration {
	return r.get().Timeout(floor, ceiling)
}
