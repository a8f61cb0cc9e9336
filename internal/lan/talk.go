package lan

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/kadquic/kadquic/wire"
)

const (
	// A question is asked at once, a second later, and then at ever longer intervals
	// (RFC 6762 §5.2), unless somebody else asks: the answers are for everybody.
	firstWait = time.Second
	lastWait  = 5 * time.Minute

	// announcements are told unasked, a second apart (§8.3).
	announcements = 2
	// apart is the least time between two times that we tell (§6).
	apart = time.Second

	// enough is how many peers may answer before one need not: who asks joins
	// through any of them. A thousand need not all answer each newcomer, who tells
	// of itself.
	enough = 20
)

// A talk is when to speak on one interface. The caller passes in the time.
type talk struct {
	asks   time.Time     // when to ask
	wait   time.Duration // from then until the next
	tells  time.Time     // when to tell; zero: nobody has asked
	told   time.Time     // last
	unsaid int           // announcements to come
	others int           // that have told since we were asked
}

// newTalk begins to speak, not at once: all who a switch has just connected do.
func newTalk(now time.Time) *talk {
	soon := now.Add(shortly())
	return &talk{asks: soon, wait: firstWait, tells: soon, unsaid: announcements}
}

// shortly is how long to wait that not all speak together (§6).
func shortly() time.Duration { return 20*time.Millisecond + rand.N(100*time.Millisecond) }

// next returns when something is due.
func (t *talk) next() time.Time {
	if !t.tells.IsZero() && t.tells.Before(t.asks) {
		return t.tells
	}
	return t.asks
}

// due says what is to be done now.
func (t *talk) due(now time.Time) (ask, tell bool) {
	if !now.Before(t.asks) {
		ask = true
		t.asks = now.Add(t.wait*7/8 + rand.N(t.wait/4))
		t.wait = min(2*t.wait, lastWait)
	}
	if t.tells.IsZero() || now.Before(t.tells) {
		return ask, false
	}
	t.tells = time.Time{}
	if t.unsaid == 0 && t.others >= enough {
		return ask, false
	}
	t.told = now
	if t.unsaid--; t.unsaid > 0 {
		t.tells = now.Add(apart)
	}
	t.unsaid = max(t.unsaid, 0)
	return ask, true
}

// asked notes that somebody asks.
func (t *talk) asked(now time.Time) {
	if later := now.Add(t.wait * 7 / 8); t.wait > 4*firstWait && t.asks.Before(later) {
		t.asks = later.Add(rand.N(t.wait / 4))
	}
	if !t.tells.IsZero() {
		return
	}
	t.others = 0
	t.tells = now.Add(shortly())
	if earliest := t.told.Add(apart); t.tells.Before(earliest) {
		t.tells = earliest
	}
}

const (
	// maxFound is how many peers a minute are reported, and maxFoundOf how many of
	// one sender. Whoever sends from many addresses can use up the first, so that for
	// so long nobody else is found, but cannot make us dial more.
	maxFound   = 64
	maxFoundOf = 8
)

// limits bound what is reported. The zero value is ready.
type limits struct {
	since time.Time
	seen  map[said]struct{}
	of    map[netip.Addr]int
}

// A said is who said that a peer is there.
type said struct {
	from netip.Addr
	id   wire.PeerID
}

// allow reports whether to report a peer: each once a minute.
func (l *limits) allow(now time.Time, from netip.Addr, id wire.PeerID) bool {
	if now.Sub(l.since) >= time.Minute {
		*l = limits{now, make(map[said]struct{}), make(map[netip.Addr]int)}
	}
	s := said{from, id}
	if _, again := l.seen[s]; again || len(l.seen) >= maxFound || l.of[from] >= maxFoundOf {
		return false
	}
	l.seen[s] = struct{}{}
	l.of[from]++
	return true
}
