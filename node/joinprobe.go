package node

import (
	"context"
	"sync"
	"time"
)

const (
	// minHold and maxHold bound how long a join waits for the first dial-backs. Once it
	// continues, the node sends packets to every peer it learns of.
	minHold = 300 * time.Millisecond
	maxHold = 1500 * time.Millisecond
)

// probeBeforeJoin requests dial-backs from the peers that a node has met first, and delays
// its join for up to maxHold. A dial-back that arrives now comes from an address to which
// the node has sent nothing. In a small network a node connects to all peers in its first
// second; after that, no dial-back proves anything for ten minutes.
func (n *Node) probeBeforeJoin(ctx context.Context) {
	if !n.asks() || !n.reachProbe.first() {
		return
	}
	subjects := n.self.Subjects(time.Now())
	hold := minHold
	var wg sync.WaitGroup
	ended := make(chan struct{})
	asked := 0
	for _, l := range n.links.all() {
		if !l.mayAnswer() || asked == askMany {
			continue
		}
		asked++
		hold = min(max(hold, minHold+6*l.conn.Stats().SmoothedRTT), maxHold)
		for _, at := range subjects {
			wg.Add(1)
			started := n.spawn(func() {
				defer wg.Done()
				n.requestDialBack(n.ctx, l.id, at)
			})
			if !started {
				wg.Done()
			}
		}
	}
	if !n.spawn(func() { wg.Wait(); close(ended) }) {
		return
	}
	timer := time.NewTimer(hold)
	defer timer.Stop()
	for {
		news := n.reachProbe.newsChan()
		if n.self.Sum(time.Now()).Yes {
			return
		}
		select {
		case <-news:
		case <-ended:
			return
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// first reports whether this is its first call.
func (a *reachProbe) first() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	before := a.begun
	a.begun = true
	return !before
}
