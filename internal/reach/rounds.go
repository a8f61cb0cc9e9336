package reach

import (
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/kadquic/kadquic/wire"
)

const (
	askSoon   = 15 * time.Second // after the first rounds, while it is not known
	soonTimes = 3                // so many of them
	askUnsure = 5 * time.Minute  // then, and when something speaks against what was known
	askSure   = 30 * time.Minute // once it is known

	// askMapped is how often a port is tried that a router maps: its rules may go
	// without a word, and its own answer would be the same as before.
	askMapped = 5 * time.Minute
	// askAgainst is how long the rounds follow one another as in the beginning when a
	// peer could not connect where others have: either it was bad luck, or the address
	// is out of reach and others wait for it.
	askAgainst = 2 * time.Minute

	askedLife = time.Minute // how long it is remembered who was asked
)

// Rounds is when peers are asked about which address, and who was. Make it with
// [NewRounds]. Goroutines may share it; it calls nothing while it is locked.
type Rounds struct {
	mu      sync.Mutex
	of      map[netip.AddrPort]*round
	asked   map[wire.PeerID]time.Time
	last    time.Time // when one was begun
	running int
}

// A round is the latest one about an address. SeenBy is among the addresses.
type round struct {
	begun time.Time
	count int
	busy  bool
}

// NewRounds makes Rounds in which nobody has been asked.
func NewRounds() *Rounds {
	return &Rounds{of: make(map[netip.AddrPort]*round), asked: make(map[wire.PeerID]time.Time)}
}

// Begin notes that a round about an address begins, on which there is that verdict and
// which a router maps or not, if it is due or forced. [Rounds.End] ends it.
func (r *Rounds) Begin(at netip.AddrPort, v Verdict, mapped bool, now time.Time, force bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	latest := r.of[at]
	if latest == nil {
		latest = new(round)
		r.of[at] = latest
	}
	pause := askUnsure
	switch {
	case latest.busy:
		return false
	case v.settled(now):
		pause = askSure
		if mapped && v.Answer() == Yes {
			pause = askMapped
		}
		if v.yes.After(latest.begun) && !latest.begun.IsZero() {
			latest.begun = v.yes // somebody came in: that is as good
		}
	case v.Answer() == Yes && now.Sub(v.against) < askAgainst:
		pause = askSoon
	case v.Answer() != Unknown:
	case latest.count == 0:
		pause = 0
	case latest.count < soonTimes:
		pause = askSoon
	}
	if !force && now.Sub(latest.begun) < pause {
		return false
	}
	latest.begun, latest.busy, r.last = now, true, now
	latest.count++
	r.running++
	return true
}

// End ends a round.
func (r *Rounds) End(at netip.AddrPort) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running--
	if latest := r.of[at]; latest != nil {
		latest.busy = false
	}
}

// State reports whether a round is under way, and when the latest was begun.
func (r *Rounds) State() (running bool, last time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.running > 0, r.last
}

// IsNew reports whether there have been few rounds about an address.
func (r *Rounds) IsNew(at netip.AddrPort) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	latest := r.of[at]
	return latest == nil || latest.count < soonTimes
}

// Keep forgets rounds about addresses that are none of ours any more.
func (r *Rounds) Keep(subjects []netip.AddrPort) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.of, func(at netip.AddrPort, latest *round) bool { return !latest.busy && !slices.Contains(subjects, at) })
}

// Forget forgets them all: there is to be a first one again.
func (r *Rounds) Forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.of)
}

// Progress tells how far the asking about addresses has come on which there is no
// verdict.
func (r *Rounds) Progress(untried []netip.AddrPort) Progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	ended := func(at netip.AddrPort) int {
		latest := r.of[at]
		if latest == nil {
			return 0
		}
		if latest.busy {
			return latest.count - 1
		}
		return latest.count
	}
	return Progress{
		Trying:   slices.ContainsFunc(untried, func(at netip.AddrPort) bool { return ended(at) < 1 }),
		Thorough: len(untried) > 0 && !slices.ContainsFunc(untried, func(at netip.AddrPort) bool { return ended(at) < soonTimes }),
	}
}

// Asks notes that a peer is asked.
func (r *Rounds) Asks(id wire.PeerID, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.asked, func(_ wire.PeerID, at time.Time) bool { return now.Sub(at) > askedLife })
	r.asked[id] = now
}

// WasAsked reports whether a peer was asked of late.
func (r *Rounds) WasAsked(id wire.PeerID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.asked[id]
	return ok
}
