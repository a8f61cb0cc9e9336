package reach

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// A share is a rate per second and a burst.
type share struct {
	rate  rate.Limit
	burst int
}

// AskerBurst is the burst of dial-backs for one network of askers, and to one network.
const AskerBurst = 10

// The limits of DIAL_BACK, SPEC.md §9. A node asks about five peers three times within a minute
// about one or two addresses. A delegator asks for many nodes, and a bootstrap node gets many
// requests at once. 8 a second are 40 kB/s at most, and some milliseconds of signing.
var (
	shareOfAll       = share{8, 64}
	shareOfAsker     = share{0.2, AskerBurst} // of one network of askers; of one network that is dialled
	shareOfDelegator = share{1, 20}           // of one network
)

// Limits bound how often a node delegates dial-backs and makes them itself. Make them with
// [NewLimits]. Goroutines may share them.
type Limits struct {
	mu                      sync.Mutex
	all                     *rate.Limiter
	askers, thirds, dialled shares
}

// NewLimits makes unused Limits.
func NewLimits() *Limits {
	return &Limits{
		all:     rate.NewLimiter(shareOfAll.rate, shareOfAll.burst),
		askers:  shares{shareOfAsker, make(map[netip.Prefix]*rate.Limiter)},
		thirds:  shares{shareOfDelegator, make(map[netip.Prefix]*rate.Limiter)},
		dialled: shares{shareOfAsker, make(map[netip.Prefix]*rate.Limiter)},
	}
}

// Allow reports whether a peer at from may have the node delegate a dial-back to an address,
// or, if third, make it itself. Only requests that pass the common limit take memory, so
// it stays small: entries can be dropped after a minute.
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

// shares are the limiters of networks.
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
		for other, l := range s.of { // a full limiter limits nothing
			if l.TokensAt(now) >= float64(s.each.burst) {
				delete(s.of, other)
			}
		}
		l = rate.NewLimiter(s.each.rate, s.each.burst)
		s.of[network] = l
	}
	l.AllowN(now, 1)
}
