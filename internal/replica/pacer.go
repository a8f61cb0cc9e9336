package replica

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/kadquic/kadquic/wire"
)

// The pace of sending to one receiver. It is below the receiver's limits (SPEC.md §9), which
// leaves room for this node's other requests.
const (
	paceBytes    = 192 << 10 // a second
	paceRequests = 20        // a second
	paceBurst    = 1 << 20   // bytes at once
	requestBurst = 40        // requests at once
)

// A pacer keeps the records that this node sends to one peer below the peer's limits.
// Goroutines may share it.
type pacer struct{ bytes, requests *rate.Limiter }

func newPacer() *pacer {
	return &pacer{rate.NewLimiter(paceBytes, paceBurst), rate.NewLimiter(paceRequests, requestBurst)}
}

// wait returns when the peer takes the given number of bytes and requests.
func (p *pacer) wait(ctx context.Context, bytes, requests int) error {
	if err := p.requests.WaitN(ctx, requests); err != nil {
		return err
	}
	return p.bytes.WaitN(ctx, bytes)
}

// isFull reports whether the pacer is as good as a new one.
func (p *pacer) isFull(now time.Time) bool {
	return p.bytes.TokensAt(now) >= paceBurst && p.requests.TokensAt(now) >= requestBurst
}

// pacerSweep is how often full pacers are forgotten. A used pacer is full again after 6 s.
const pacerSweep = 20 * time.Second

// pacers are the pacers of the peers that records were sent to lately. Goroutines may share it.
type pacers struct {
	mu    sync.Mutex
	of    map[wire.PeerID]*pacer
	swept time.Time
}

// get returns the pacer of a peer.
func (ps *pacers) get(id wire.PeerID, now time.Time) *pacer {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if now.Sub(ps.swept) >= pacerSweep {
		ps.swept = now
		for id, p := range ps.of {
			if p.isFull(now) {
				delete(ps.of, id)
			}
		}
	}
	p := ps.of[id]
	if p == nil {
		p = newPacer()
		ps.of[id] = p
	}
	return p
}
