package lan

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/kadquic/kadquic/wire"
)

const (
	// The first two queries are a second apart, the later ones at growing intervals (RFC
	// 6762 §5.2). Another host's query postpones ours, as all hosts receive the answers.
	firstWait = time.Second
	lastWait  = 5 * time.Minute

	// announcements are unsolicited answers, a second apart (§8.3).
	announcements = 2
	// apart is the least time between two answers (§6).
	apart = time.Second

	// enough is the number of answers after which a peer suppresses its own: a newcomer
	// needs any one peer to join, and announces itself. Without it each of a thousand
	// peers would answer every newcomer.
	enough = 20
)

// A talk schedules the packets on one interface. The caller passes the time.
type talk struct {
	asks   time.Time     // of the next query
	wait   time.Duration // between the next query and the one after it
	tells  time.Time     // of the next answer; zero if none is due
	told   time.Time     // of the last answer
	unsaid int           // announcements that are left
	others int           // answers of other peers since the last query
}

// newTalk schedules the first packets after a random delay, as a switch that comes up
// connects many hosts at the same moment.
func newTalk(now time.Time) *talk {
	soon := now.Add(shortly())
	return &talk{asks: soon, wait: firstWait, tells: soon, unsaid: announcements}
}

// shortly returns a random delay that keeps hosts from answering at the same time (§6).
func shortly() time.Duration { return 20*time.Millisecond + rand.N(100*time.Millisecond) }

// next returns when due has work.
func (t *talk) next() time.Time {
	if !t.tells.IsZero() && t.tells.Before(t.asks) {
		return t.tells
	}
	return t.asks
}

// due reports whether to send a query or an answer now, and schedules the next ones.
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

// asked records another host's query.
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
	// maxFound bounds the peers reported per minute, maxFoundOf those of one sender. A host
	// that forges many source addresses can exhaust maxFound and so hide other peers for
	// that minute, but it cannot cause more dials.
	maxFound   = 64
	maxFoundOf = 8
)

// limits bound the peers that are reported. The zero value is ready.
type limits struct {
	since time.Time
	seen  map[said]struct{}
	of    map[netip.Addr]int
}

// A said identifies one sender's announcement of one peer.
type said struct {
	from netip.Addr
	id   wire.PeerID
}

// allow reports whether to report a peer: once a minute for each sender.
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
