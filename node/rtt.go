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
	mu  sync.Mutex
	rtt routing.RTT
}

func (r *linkRTT) observe(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rtt.Observe(d)
}

func (r *linkRTT) get() routing.RTT {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rtt
}

// timeout is how long to wait for an answer: 1 second while nothing is known.
func (r *linkRTT) timeout(floor, ceiling time.Duration) time.Duration {
	return r.get().Timeout(floor, ceiling)
}
