package reach

import "time"

// maxDoubt is how long a client stays one of which nothing is known any more: one
// that has moved learns soon what it is there, and is not to come and go meanwhile.
const maxDoubt = 20 * time.Second

// A Sum is what the verdicts on all our addresses say together.
type Sum struct {
	Yes  bool // strangers get in somewhere
	No   bool // somewhere they do not
	Hope bool // somewhere else others at least do
}

// Sum adds up the verdicts.
func (s *Self) Sum(now time.Time) (sum Sum) {
	s.mu.Lock()
	defer s.mu.Unlock()
	add := func(v Verdict) {
		a := v.Answer()
		sum.Yes = sum.Yes || a == Yes
		sum.No = sum.No || a == No
		sum.Hope = sum.Hope || a == Unknown && v.Hopeful(now)
	}
	for _, p := range s.placesLocked(now) {
		if p.scope() == ScopeGlobal {
			add(s.verdicts[p.At])
		}
	}
	add(s.verdicts[SeenBy(true)])
	add(s.verdicts[SeenBy(false)])
	return sum
}

// A Decision is whether a node serves others, or is their client. The zero value
// serves. Goroutines must not share it.
type Decision struct {
	client bool
	doubt  time.Time // since when nothing says that a client is one; zero: something does
}

// Decide draws the conclusion from the verdicts: a node is a server until nobody
// reaches it at one of its addresses, and nobody at another. While it is trying one of
// which nothing is known yet it does not become a client. It reports whether it is one.
func (d *Decision) Decide(sum Sum, trying bool, now time.Time) (client bool) {
	switch {
	case sum.Yes:
		d.client, d.doubt = false, time.Time{}
	case sum.No:
		d.client, d.doubt = d.client || !sum.Hope && !trying, time.Time{}
	case !d.client:
	case d.doubt.IsZero():
		d.doubt = now
	case now.Sub(d.doubt) >= maxDoubt:
		d.client, d.doubt = false, time.Time{}
	}
	return d.client
}
