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

// A watch sees to it that a path that was found stays one. The zero value is asleep.
type watch struct {
	talking bool
	last    time.Time // heard
	asked   time.Time // first PING since then that waits for its answer; zero: none
	next    time.Time // PING
}

func (w *watch) gap() time.Duration {
	if w.talking {
		return talkGap
	}
	return idleGap
}

func (w *watch) began(now time.Time) {
	w.last, w.asked, w.next = now, time.Time{}, now.Add(w.gap())
}

func (w *watch) heard(now time.Time) {
	w.last, w.asked, w.next = now, time.Time{}, now.Add(w.gap())
}

func (w *watch) quiet(now time.Time) bool {
	return !w.asked.IsZero() && now.Sub(w.asked) >= silence
}

// keepAlive asks on the path whether the peer is there still, and gives the path up
// when it has not answered for long. It returns when to be called again.
func (s *Session) keepAlive(now time.Time, send Sender) time.Time {
	w := &s.watch
	if !w.asked.IsZero() && now.Sub(w.last) >= consent+w.gap() {
		s.best.validated, s.best.due, s.best = time.Time{}, time.Time{}, nil
		return time.Time{}
	}
	if !now.Before(w.next) {
		s.ping(now, s.best.Endpoint, send)
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

// Talk says whether a conversation is open on the path, which is then watched closely.
func (s *Session) Talk(now time.Time, on bool) {
	w := &s.watch
	if w.talking == on {
		return
	}
	w.talking = on
	if w.asked.IsZero() {
		w.next = now.Add(w.gap())
	}
}

// Check asks on the path at once whether it is there still.
func (s *Session) Check(now time.Time) {
	if s.best != nil && s.watch.asked.IsZero() {
		s.watch.next = now
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
func (s *Session) State(now time.Time) State {
	if s.best == nil {
		return State{}
	}
	return State{
		Found: true, Path: s.best.Endpoint, RTT: s.best.rtt, Quiet: s.watch.quiet(now),
		Heard: s.watch.last, Asked: s.watch.asked,
	}
}
