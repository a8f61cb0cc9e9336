package join

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// Join joins the network through the targets, and returns when the node has found its
// position.
func (j *Joiner) Join(ctx context.Context) error {
	j.targets.begin()
	err := j.Meet(ctx)
	j.targets.end(err)
	if err != nil {
		j.Host.Joined(false)
		return err
	}
	j.Host.Met(ctx)
	defer j.Host.Joined(true)
	return j.FindPosition(ctx)
}

// Pauses between two attempts of Rejoin. They double.
const (
	minRejoinPause = time.Second
	maxRejoinPause = time.Minute
)

// rejoinTimeout bounds one attempt of Rejoin.
const rejoinTimeout = time.Minute

// Rejoin joins again, with backoff from 1 second to 1 minute, while the node has no
// live contact and knows a bootstrap peer. It runs until ctx ends.
func (j *Joiner) Rejoin(ctx context.Context) {
	wait := minRejoinPause
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		switch {
		case !j.IsIsolated() || !j.HasTargets():
			wait = minRejoinPause
		default:
			attempt, cancel := context.WithTimeout(ctx, rejoinTimeout)
			err := j.Join(attempt)
			cancel()
			if err == nil {
				j.Logger.Info("joined", "connections", j.Host.Connections())
				wait = minRejoinPause
				break
			}
			j.Logger.Warn("cannot join", "err", err, "again in", fmt.Sprint(wait))
			wait = min(2*wait, maxRejoinPause)
		}
		timer.Reset(wait + rand.N(wait/4))
	}
}
