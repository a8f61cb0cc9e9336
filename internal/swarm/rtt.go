package swarm

import (
	"sync"
	"time"

	"github.com/kadquic/kadquic/routing"
)

// RTT is the round-trip estimate of one connection, or of the network as a whole for
// peers of which nothing is known. The zero value knows nothing. Goroutines may share it.
type RTT struct {
	mu    sync.Mutex
	rtt   routing.RTT
	count int // of round trips observed
}

// Set replaces the estimate before the first round trip, by one from another source.
func (r *RTT) Set(rtt routing.RTT) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rtt = rtt
}

// Observe adds one measured round trip.
func (r *RTT) Observe(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rtt.Observe(d)
	r.count++
}

// Get returns the estimate.
func (r *RTT) Get() routing.RTT {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rtt
}

// Within returns the estimate of one connection in a network with this deviation. The
// first few round trips say little about the connection's own deviation (RFC 6298 begins
// with half the round trip), so Within limits it to twice the network's.
func (r *RTT) Within(network routing.RTT) routing.RTT {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.count >= fewRTTs || !network.Known() {
		return r.rtt
	}
	least := r.rtt.Smoothed() / 16
	return routing.NewRTT(r.rtt.Smoothed(), min(r.rtt.Deviation(), max(2*network.Deviation(), least)))
}

// fewRTTs is the number of round trips after which a connection's own deviation counts.
const fewRTTs = 8

// Timeout returns how long to wait for a reply: 1 second while nothing is known.
func (r *RTT) Timeout(floor, ceiling time.Duration) time.Duration {
	return r.Get().Timeout(floor, ceiling)
}
