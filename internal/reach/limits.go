package reach

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// A share is how much one may have done: so many a second, and a number at once.
type share struct {
	rate  rate.Limit
	burst int
}

// AskerBurst is how often somebody is dialled at once, whoever asks for it.
const AskerBurst = 10

// The limits of DIAL_BACK, SPEC.md §9. A node asks five peers or so, thrice within a minute,
// about an address or two. Who delegates does it for many; and through a node by
// which others join come many at once. 8 a second are 40 kB/s at most, and some
// milliseconds of signing.
var (
	shareOfAll       = share{8, 64}
	shareOfAsker     = share{0.2, AskerBurst} // of one network, and of what is dialled there
	shareOfDelegator = share{1, 20}           // of one network
)

// Limits bound how often a node has others dialled back, and dials back itself. Make
// them with [NewLimits]. Goroutines may share them.
type Limits struct {
	mu                      sync.Mutex
	all                     *rate.Limiter
	askers, thirds, dialled shares
}

// NewLimits makes Limits of which nothing is used up.
func NewLimits() *Limits {
	return &Limits{
		all:     rate.NewLimiter(shareOfAll.rate, shareOfAll.burst),
		askers:  shares{shareOfAsker, make(map[netip.Prefix]*rate.Limiter)},
		thirds:  shares{shareOfDelegator, make(map[netip.Prefix]*rate.Limiter)},
		dialled: shares{shareOfAsker, make(map[netip.Prefix]*rate.Limiter)},
	}
}

// Allow reports whether somebody at from may make us have to dialled, or dial it
// as a third. Only what the limit of all lets pass takes room, so that there is
// little of it: a minute later it can be forgotten.
func (l *Limits) Allow(from, to netip.Addr, third bool, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	by := l.askers
	if third {
		by = l.thirds
	}
	if by.exhausted(NetworkOf(from), now) || l.dialled.exhausted(NetworkOf(to), now) || !l.all.AllowN(now, 1) {
		return false
	}
	by.take(NetworkOf(from), now)
	l.dialled.take(NetworkOf(to), now)
	return true
}

// shares are those of networks.
type shares struct {
	each share
	of   map[netip.Prefix]*rate.Limiter
}

func (s shares) exhausted(network netip.Prefix, now time.Time) bool {
	l := s.of[network]
	return l != nil && l.TokensAt(now) < 1
}

func (s shares) take(network netip.Prefix, now time.Time) {
	l := s.of[network]
	if l == nil {
		for other, l := range s.of { // those that are full again say nothing
			if l.TokensAt(now) >= float64(s.each.burst) {
				delete(s.of, other)
			}
		}
		l = rate.NewLimiter(s.each.rate, s.each.burst)
		s.of[network] = l
	}
	l.AllowN(now, 1)
}
