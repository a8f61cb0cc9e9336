package node

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/kadquic/kadquic/wire"
)

const (
	// maxPeerStreams bounds the application streams that a peer has open here, over
	// all its connections: as many as one connection allows (quic.Config.MaxStreams).
	maxPeerStreams = 100

	// quotaMemory is how long the quota of a peer is kept without a connection. After
	// that all its limiters are full again, and a new one is the same.
	quotaMemory = 20 * time.Second

	// maxLeft bounds the quotas kept without a connection: some 600 bytes each. An
	// accepted handshake costs its peer far more.
	maxLeft = 4096
)

// A quota is what one peer may ask of us, and what we send it at once, over all the
// connections that it has or had just now: to come twice, or again, gives nobody
// more.
type quota struct {
	requests *rate.Limiter
	stores   *rate.Limiter // bytes of records to store
	calls    *rate.Limiter // that the peer, a relay, passes on to us
	pacer    *pacer        // of what is delivered to the peer, which has limits, too

	streams atomic.Int32 // application streams that the peer has opened

	// Guarded by quotas.mu.
	links int
	left  time.Time // when the last of them ended
}

func newQuota() *quota {
	return &quota{
		requests: rate.NewLimiter(50, 200),
		stores:   rate.NewLimiter(256<<10, 4<<20),
		calls:    rate.NewLimiter(10, 80), // somewhat more than the limits of an honest relay let pass
		pacer:    newPacer(),
	}
}

// openStream counts an application stream, unless there are too many; closeStream
// must follow.
func (q *quota) openStream() bool {
	if q.streams.Add(1) > maxPeerStreams {
		q.streams.Add(-1)
		return false
	}
	return true
}

func (q *quota) closeStream() { q.streams.Add(-1) }

// quotas are those of the peers that are connected or were lately. Goroutines may
// share it.
type quotas struct {
	mu    sync.Mutex
	of    map[wire.PeerID]*quota
	idle  int // without a link
	swept time.Time
}

// take returns the quota of a peer, for one more link; leave must follow.
func (qs *quotas) take(id wire.PeerID, now time.Time) *quota {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	q := qs.of[id]
	switch {
	case q == nil:
		q = newQuota()
		qs.of[id] = q
	case q.links == 0:
		qs.idle--
	}
	q.links++
	return q
}

// leave notes that a link of the peer's has ended.
func (qs *quotas) leave(id wire.PeerID, now time.Time) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	q := qs.of[id]
	if q.links--; q.links > 0 {
		return
	}
	q.left = now
	qs.idle++
	if qs.idle > maxLeft || now.Sub(qs.swept) > quotaMemory {
		qs.sweep(now)
	}
}

// sweep forgets who left long ago and, if there are too many others, any of those;
// with mu held.
func (qs *quotas) sweep(now time.Time) {
	qs.swept = now
	for id, q := range qs.of {
		if q.links == 0 && (now.Sub(q.left) >= quotaMemory || qs.idle > maxLeft) {
			delete(qs.of, id)
			qs.idle--
		}
	}
}
