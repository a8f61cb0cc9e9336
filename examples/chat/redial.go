package main

import (
	"math/rand/v2"
	"time"
)

const (
	minRedial = time.Second      // between attempts to reach a peer that is away
	maxRedial = 30 * time.Second // likewise, unless the user says something
)

// A redial says when a peer that did not answer is called again: after 1, 2, 4, … 30 s, each a
// quarter more or less by chance, so that peers that have lost one relay do not return to it
// all at once. A message of the user ends the wait, except in the first second. The zero value calls at once.
type redial struct {
	pause time.Duration // the latest wait, before chance is applied
	least time.Duration // for which nothing the user says counts
	most  time.Duration // in all
	said  uint64        // number of the last message when the peer was last called
}

// failed plans the next attempt. A peer that was here until now is called soon.
func (r *redial) failed(wasHere bool) {
	r.pause = max(minRedial, min(2*r.pause, maxRedial))
	if wasHere {
		r.pause = minRedial
	}
	r.least, r.most = vary(minRedial), vary(r.pause)
	r.most = max(r.most, r.least)
}

// answered plans the next question to a peer that is here.
func (r *redial) answered() { *r = redial{most: beat} }

// mayCall reports whether the user has said something to a peer that is away since it was
// last called. In update.
func (r *redial) mayCall(p *peer) bool { return !p.here && p.last() > r.said }

func vary(d time.Duration) time.Duration { return d*3/4 + rand.N(d/2) }
