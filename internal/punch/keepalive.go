package punch

import "time"

const (
	// idleGap and talkGap lie between two PINGs on a path, without a conversation and
	// with one. NATs keep a mapping for 30 s or longer.
	idleGap = 15 * time.Second
	talkGap = 2500 * time.Millisecond
	// silence is how long a PING on a path may go unanswered before the path is quiet.
	// repeat is the time between PINGs without an answer.
	silence = 600 * time.Millisecond
	repeat  = 300 * time.Millisecond
	// consent is how long a path without an answer stays valid (RFC 7675 §5.1).
	consent = 30 * time.Second
)

// A keepalive checks the selected path so that NATs keep its mappings, and so that a broken
// path is noticed.
type keepalive struct {
	talking bool
	last    time.Time // when a PONG last came
	asked   time.Time // when the first unanswered PING since then was sent; zero: there is none
	next    time.Time // when to send the next PING
}

func (k *keepalive) gap() time.Duration {
	if k.talking {
		return talkGap
	}
	return idleGap
}

// reset notes that the path has been selected or has answered.
func (k *keepalive) reset(now time.Time) {
	k.last, k.asked, k.next = now, time.Time{}, now.Add(k.gap())
}

func (k *keepalive) isQuiet(now time.Time) bool {
	return !k.asked.IsZero() && now.Sub(k.asked) >= silence
}
