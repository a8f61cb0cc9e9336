package swarm

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/kadquic/kadquic/wire"
)

const (
	// MaxPeerStreams bounds the application streams that a peer has open here, over
	// all its connections: as many as one connection allows (quic.Config.MaxStreams).
	MaxPeerStreams = 100

	// QuotaMemory is how long the quota of a peer is kept without a connection. After
	// that all its limiters are full again, and a new one is the same.
	QuotaMemory = 20 * time.Second

	// maxIdleQuotas bounds the quotas kept without a connection: some 600 bytes each.
	// An accepted handshake costs its peer far more.
	maxIdleQuotas = 4096
)

// A Quota limits the requests of one peer over all its connections, those of the
// last QuotaMemory included: a second connection, or a new one, allows the peer no more.
// Goroutines may share it.
type Quota struct {
	Requests *rate.Limiter
	Stores   *rate.Limiter // bytes of records to store
	Calls    *rate.Limiter // calls that the peer, a relay, forwards to this node

	streams atomic.Int32 // application streams that the peer has opened

	// Guarded by Quotas.mu.
	conns int
	ended time.Time // when the last of them ended
}

func newQuota() *Quota {
	return &Quota{
		Requests: rate.NewLimiter(50, 200),
		Stores:   rate.NewLimiter(256<<10, 4<<20),
		Calls:    rate.NewLimiter(10, 80), // more than an honest relay's own limits let it forward
	}
}

// OpenStream counts one more application stream. It returns false if the peer has
// MaxPeerStreams already. CloseStream must follow.
func (q *Quota) OpenStream() bool {
	if q.streams.Add(1) > MaxPeerStreams {
		q.streams.Add(-1)
		return false
	}
	return true
}

// CloseStream ends what OpenStream began.
func (q *Quota) CloseStream() { q.streams.Add(-1) }

// Streams returns how many application streams of the peer are open.
func (q *Quota) Streams() int { return int(q.streams.Load()) }

// Quotas are the quotas of the peers that are connected or were lately. Make it with
// [NewQuotas]. Goroutines may share it.
type Quotas struct {
	mu    sync.Mutex
	of    map[wire.PeerID]*Quota
	idle  int // quotas without a connection
	swept time.Time
}

// NewQuotas makes an empty set.
func NewQuotas() *Quotas {
	return &Quotas{of: make(map[wire.PeerID]*Quota)}
}

// Acquire returns the quota of a peer, for one more connection. Release must follow.
func (qs *Quotas) Acquire(id wire.PeerID, now time.Time) *Quota {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	q := qs.of[id]
	switch {
	case q == nil:
		q = newQuota()
		qs.of[id] = q
	case q.conns == 0:
		qs.idle--
	}
	q.conns++
	return q
}

// Release notes that a connection of the peer has ended.
func (qs *Quotas) Release(id wire.PeerID, now time.Time) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	q := qs.of[id]
	if q.conns--; q.conns > 0 {
		return
	}
	q.ended = now
	qs.idle++
	if qs.idle > maxIdleQuotas || now.Sub(qs.swept) > QuotaMemory {
		qs.sweep(now)
	}
}

// sweep forgets idle quotas older than QuotaMemory and, if there are too many others, any
// of those. The caller holds mu.
func (qs *Quotas) sweep(now time.Time) {
	qs.swept = now
	for id, q := range qs.of {
		if q.conns == 0 && (now.Sub(q.ended) >= QuotaMemory || qs.idle > maxIdleQuotas) {
			delete(qs.of, id)
			qs.idle--
		}
	}
}
