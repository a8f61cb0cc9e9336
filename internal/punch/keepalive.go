package punch

import "time"

const (
	// idleGap and talkGap are between two PINGs on a path, while nobody speaks and
	// while a conversation is open. NATs keep a mapping for 30 s at the very least.
	idleGap = 15 * time.Second
	talkGap = 2500 * time.Millisecond
	// silence is how long a PING on a path may go unanswered until the path counts as
	// quiet, and repeat when it is asked again then.
	silence = 600 * time.Millisecond
	repeat  = 300 * time.Millisecond
	// consent is how long a path without any answer stays one (RFC 7675 §5.1).
	consent = 30 * time.Second
)

// A keepalive sees to it that a path that was found stays one. The zero value is asleep.
type keepalive struct {
	talking bool
	last    time.Time // heard
	asked   time.Time // first PING since then that waits for its answer; zero: none
	next    time.Time // PING
}

func (w *keepalive) gap() time.Duration {
	if w.talking {
		return talkGap
	}
	return idleGap
}

func (w *keepalive) reset(now time.Time) {
	w.last, w.asked, w.next = now, time.Time{}, now.Add(w.gap())
}

func (w *keepalive) heard(now time.Time) {
	w.last, w.asked, w.next = now, time.Time{}, now.Add(w.gap())
}

func (w *keepalive) isQuiet(now time.Time) bool {
	return !w.asked.IsZero() && now.Sub(w.asked) >= silence
}

// keepAlive asks on the path whether the peer is there still, and gives the path up
// when it has not answered for long. It returns when to be called again.
func (s *Checklist) keepAlive(now time.Time, send Sender) time.Time {
	w := &s.keepalive
	if !w.asked.IsZero() && now.Sub(w.last) >= consent+w.gap() {
		s.selected.validated, s.selected.due, s.selected = time.Time{}, time.Time{}, nil
		return time.Time{}
	}
	if !now.Before(w.next) {
		s.sendPing(now, s.selected.Endpoint, send)
		if w.asked.IsZero() {
			w.asked = now
		}
		w.next = now.Add(repeat)
		if now.Sub(w.asked) > 10*silence { // gone for good, most likely
			w.next = now.Add(talkGap)
		}
	}
	next := w.next
	if at := w.asked.Add(silence); !w.asked.IsZero() && at.After(now) && at.Before(next) {
		next = at
	}
	return next
}

// SetTalking says whether a conversation is open on the path, which is then watched closely.
func (s *Checklist) SetTalking(now time.Time, on bool) {
	w := &s.keepalive
	if w.talking == on {
		return
	}
	w.talking = on
	if w.asked.IsZero() {
		w.next = now.Add(w.gap())
	}
}

// Check asks on the path at once whether it is there still.
func (s *Checklist) Check(now time.Time) {
	if s.selected != nil && s.keepalive.asked.IsZero() {
		s.keepalive.next = now
	}
}

// A State is how a session stands.
type State struct {
	Found bool // Path is one
	Path  Endpoint
	RTT   time.Duration
	Quiet bool // it has not answered just now

	Heard time.Time // when the path last answered, or was found
	Asked time.Time // first PING since then that waits for its answer; zero: none
}

// State says how the session stands.
func (s *Checklist) State(now time.Time) State {
	if s.selected == nil {
		return State{}
	}
	return State{
		Found: true, Path: s.selected.Endpoint, RTT: s.selected.rtt, Quiet: s.keepalive.isQuiet(now),
		Heard: s.keepalive.last, Asked: s.keepalive.asked,
	}
}
