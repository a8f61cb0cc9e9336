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
	askSoon   = 15 * time.Second // after the first rounds, without a verdict
	soonTimes = 3                // the number of these rounds
	askUnsure = 5 * time.Minute  // then, and when reports contradict the verdict
	askSure   = 30 * time.Minute // with a settled verdict

	// askMapped is how often a port is tested that a router forwards: the router may lose its
	// rule without notice, and still claim to have it.
	askMapped = 5 * time.Minute
	// askAgainst is how long rounds follow each other quickly after a peer failed to connect
	// where others have: it was bad luck, or the address is unreachable and other peers
	// waste time on it.
	askAgainst = 2 * time.Minute

	askedLife = time.Minute // how long an asked peer is remembered
)

// Rounds is the schedule of dial-backs by address, and the peers that were asked. Make it with
// [NewRounds]. Goroutines may share it.
type Rounds struct {
	mu      sync.Mutex
	of      map[netip.AddrPort]*round
	asked   map[wire.PeerID]time.Time
	last    time.Time // when one was begun
	running int
}

// A round is the latest one about an address, which may be SeenBy.
type round struct {
	begun time.Time
	count int
	busy  bool
}

// NewRounds makes a schedule without rounds.
func NewRounds() *Rounds {
	return &Rounds{of: make(map[netip.AddrPort]*round), asked: make(map[wire.PeerID]time.Time)}
}

// Begin begins a round about an address, and returns false if none is due. v is the verdict on
// the address, mapped whether a router forwards it, and force begins a round at once.
// [Rounds.End] ends the round.
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
			latest.begun = v.yes // an inbound connection replaces a round
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

// Keep forgets the rounds about all other addresses.
func (r *Rounds) Keep(subjects []netip.AddrPort) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.of, func(at netip.AddrPort, latest *round) bool { return !latest.busy && !slices.Contains(subjects, at) })
}

// Forget forgets all rounds, so that the first ones are due again.
func (r *Rounds) Forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.of)
}

// Progress returns how far the rounds about the untried addresses have come.
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

// Asks notes that a peer is being asked.
func (r *Rounds) Asks(id wire.PeerID, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.asked, func(_ wire.PeerID, at time.Time) bool { return now.Sub(at) > askedLife })
	r.asked[id] = now
}

// WasAsked reports whether a peer was asked within the last minute.
func (r *Rounds) WasAsked(id wire.PeerID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.asked[id]
	return ok
}
