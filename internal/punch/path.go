package punch

import "time"

// keepAlive pings the peer on the path and gives the path up when the peer has not answered
// for long. It returns when to be called again.
func (l *Checklist) keepAlive(now time.Time, send Sender) time.Time {
	k := &l.keepalive
	if !k.asked.IsZero() && now.Sub(k.last) >= consent+k.gap() {
		l.selected.validated, l.selected.due, l.selected = time.Time{}, time.Time{}, nil
		return time.Time{}
	}
	if !now.Before(k.next) {
		l.sendPing(now, l.selected.Endpoint, send)
		if k.asked.IsZero() {
			k.asked = now
		}
		k.next = now.Add(repeat)
		if now.Sub(k.asked) > 10*silence { // the path is most likely lost
			k.next = now.Add(talkGap)
		}
	}
	next := k.next
	if at := k.asked.Add(silence); !k.asked.IsZero() && at.After(now) && at.Before(next) {
		next = at
	}
	return next
}

// SetTalking says whether a conversation uses the path, which is then checked more often.
func (l *Checklist) SetTalking(now time.Time, on bool) {
	k := &l.keepalive
	if k.talking == on {
		return
	}
	k.talking = on
	if k.asked.IsZero() {
		k.next = now.Add(k.gap())
	}
}

// Check pings the peer on the path at once.
func (l *Checklist) Check(now time.Time) {
	if l.selected != nil && l.keepalive.asked.IsZero() {
		l.keepalive.next = now
	}
}

// A State is the outcome of a checklist so far.
type State struct {
	Found bool // there is a Path
	Path  Endpoint
	RTT   time.Duration
	Quiet bool // it has not answered for the time silence

	Heard time.Time // when the path last answered, or was found
	Asked time.Time // when the first unanswered PING since then was sent; zero: there is none
}

// State returns the outcome so far.
func (l *Checklist) State(now time.Time) State {
	if l.selected == nil {
		return State{}
	}
	return State{
		Found: true, Path: l.selected.Endpoint, RTT: l.selected.rtt, Quiet: l.keepalive.isQuiet(now),
		Heard: l.keepalive.last, Asked: l.keepalive.asked,
	}
}
