package main

import (
	"testing"
	"time"
)

// A peer that is away is called less and less often, by callers out of step, and soon if it was
// here a moment ago.
func TestRedialBacksOff(t *testing.T) {
	var r redial
	distinct := make(map[time.Duration]bool)
	for i := range 20 {
		r.failed(false)
		want := min(minRedial<<min(i, 10), maxRedial)
		if r.most < want*3/4 || r.most > max(want*5/4, minRedial*5/4) || r.least > r.most || r.least < minRedial*3/4 {
			t.Errorf("failure %d: waits for %v to %v, want about %v", i+1, r.least, r.most, want)
		}
		distinct[r.most] = true
	}
	if len(distinct) < 10 {
		t.Errorf("only %d different waits", len(distinct))
	}
	r.failed(true)
	if r.most > minRedial*5/4 {
		t.Errorf("a peer that was here is called after %v", r.most)
	}
	r.answered()
	if r.least != 0 || r.most != beat {
		t.Errorf("a peer that is here is asked after %v to %v", r.least, r.most)
	}
}

// A message of the user to a peer that is away causes a call at once.
func TestSayingSomethingRedials(t *testing.T) {
	p := &peer{}
	r := redial{said: p.last()}
	if r.mayCall(p) {
		t.Error("called though nothing was said")
	}
	p.say("are you there?")
	if !r.mayCall(p) {
		t.Error("not called though the user has said something")
	}
	r.said = p.last()
	if r.mayCall(p) {
		t.Error("called again for the same message")
	}
	p.here = true
	p.say("hello")
	if r.mayCall(p) {
		t.Error("a peer that is here is not called for want of it")
	}
}
