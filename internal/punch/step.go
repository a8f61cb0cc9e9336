package punch

import "time"

// Step sends the probes that are due and returns when to call it again, or the zero time if
// only a received probe can change anything.
func (l *Checklist) Step(now time.Time, send Sender) time.Time {
	l.expireSent(now)
	var next time.Time
	at := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	if l.isRunning(now) {
		for _, c := range l.candidates {
			if !c.due.IsZero() && !c.due.After(now) && c.validated.IsZero() {
				l.sendPing(now, c.Endpoint, send)
				c.next(now, l.end)
			}
			if c.validated.IsZero() {
				at(c.due)
			}
		}
		at(l.stepSearch(now, send))
	}
	if l.selected != nil {
		at(l.keepAlive(now, send))
	}
	return next
}
