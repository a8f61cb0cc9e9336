package join

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Meet connects to the bootstrap peers, all at once. One that answers is enough: the others
// then have one more second. Without bootstrap peers it returns nil.
func (j *Joiner) Meet(ctx context.Context) error {
	list, _ := j.targets.state()
	if len(list) == 0 {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan error, len(list))
	var meet []Target
	for _, t := range list {
		if t.ID == j.Self {
			continue // all nodes may share one list, which then names this node too
		}
		if t.Addr != "" { // before any dial: targets with one ID share a dial, which tries all addresses
			j.Host.AddUserAddr(t.ID, t.Addr)
		}
		meet = append(meet, t)
	}
	for _, t := range meet {
		go func() { results <- j.Host.Meet(ctx, t) }()
	}
	var causes []error
	var grace <-chan time.Time
	met := len(meet) == 0
	for range meet {
		select {
		case err := <-results:
			if err != nil {
				causes = append(causes, err)
			} else if !met {
				met = true
				timer := time.NewTimer(time.Second)
				defer timer.Stop()
				grace = timer.C
			}
		case <-grace:
			return nil
		}
	}
	if met {
		return nil
	}
	return j.Failed(causes)
}

// CutOff returns why a node with bootstrap peers is connected to no network: its table
// has no live contact, and no bootstrap peer has answered. It returns nil for any other
// node. A node without bootstrap peers is the first of its network.
func (j *Joiner) CutOff() error {
	list, failed := j.targets.state()
	hasOthers := slices.ContainsFunc(list, func(t Target) bool { return t.ID != j.Self })
	switch {
	case !hasOthers || !j.IsIsolated():
		return nil
	case failed == nil:
		return fmt.Errorf("%w: no bootstrap peer has answered yet", j.Unreachable)
	}
	return failed
}

// awaitTimeout bounds how long Await waits.
const awaitTimeout = 2 * time.Second

// Await waits up to 2 seconds for the attempt to join that is under way, if the node
// is cut off: it has just been started, or has just been given bootstrap peers.
func (j *Joiner) Await(ctx context.Context) {
	if j.CutOff() == nil {
		return
	}
	ended := j.targets.underway()
	if ended == nil {
		return
	}
	timer := time.NewTimer(awaitTimeout)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
	case <-ctx.Done():
	case <-j.Background.Context().Done():
	}
}

// IsIsolated reports whether the table has no live contact.
func (j *Joiner) IsIsolated() bool { return !j.Table.HasLive() }
