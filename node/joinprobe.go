package node

import (
	"context"
	"sync"
	"time"
)

const (
	// minHold and maxHold are how long a join waits for the first who come in: from
	// then on we have sent something to everybody we know of.
	minHold = 300 * time.Millisecond
	maxHold = 1500 * time.Millisecond
)

// probeBeforeJoin asks the peers that a node has met first, and holds up its join for a
// moment. Whoever dials back now comes from where nothing was sent to; once the
// node has met everybody there is, as in a small network it does in its first
// second, ten minutes must pass until somebody can tell.
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

// first reports whether it is called for the first time.
func (a *reachProbe) first() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	before := a.begun
	a.begun = true
	return !before
}
