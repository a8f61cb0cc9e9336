package client

import (
	"slices"
	"sync"
	"time"

	"github.com/kadquic/kadquic/internal/relay"
)

const (
	// maxRelays is how many relays are remembered for one route.
	maxRelays = 4
	// worksFor is how long a relay counts as working after a packet of the peer: as long as
	// sessions wait between two pings of a relay that carries a conversation.
	worksFor = time.Second
)

// A route is how packets reach a peer through relays. Client.mu guards it, except joiner.
type route struct {
	relays    []*relayState // the first is in use; the others take over when it ends or is not heard
	confirmed []*relayState // those through which the peer has called this node, or has answered
	from      *relayState   // the relay that the peer's latest packet came through
	received  time.Time     // when that was
	used      time.Time
	pinged    time.Time // the relay in use
	live      bool      // there was a connection over it when last looked
	number    uint16    // of the last packet that was sent in parts

	joinerMu sync.Mutex
	joiner   relay.Joiner
}

// current returns the relay in use, nil if there is none, and forgets those whose
// connections have ended: the first that was heard when it was last checked, else the first.
func (r *route) current() *relayState {
	if r == nil {
		return nil
	}
	for len(r.relays) > 0 && r.relays[0].hasEnded() {
		r.relays = r.relays[1:]
	}
	if len(r.relays) == 0 {
		return nil
	}
	for _, s := range r.relays {
		if !s.hasEnded() && !s.unheard {
			return s
		}
	}
	return r.relays[0]
}

// works reports whether packets get through by a relay: some of the peer's came just now.
func (r *route) works(s *relayState, now time.Time) bool {
	return r.from == s && now.Sub(r.received) < worksFor && slices.Contains(r.confirmed, s) && !s.unheard
}

// set adds a relay. A relay that works stays first, so that the path does not change with each
// call.
func (r *route) set(s *relayState, now time.Time) {
	first := r.current()
	relays := without(r.relays, s)
	at := 0
	if first != nil && first != s && r.works(first, now) {
		at = slices.Index(relays, first) + 1
	}
	relays = slices.Insert(relays, at, s)
	r.relays = relays[:min(len(relays), maxRelays)]
	r.used = now
}

// confirm notes that the peer can be reached through a relay.
func (r *route) confirm(s *relayState) {
	if !slices.Contains(r.confirmed, s) {
		r.confirmed = slices.DeleteFunc(slices.Clone(r.confirmed), func(old *relayState) bool { return !slices.Contains(r.relays, old) })
		r.confirmed = append(r.confirmed, s)
	}
}

// follow moves outgoing packets from one link to another link to the same relay. The route
// still accepts packets that arrive on the old link.
func (r *route) follow(old, s *relayState) {
	i := slices.Index(r.relays, old)
	if i < 0 || slices.Contains(r.relays, s) {
		return
	}
	r.relays = slices.Insert(slices.Clone(r.relays), i, s)
	r.relays = r.relays[:min(len(r.relays), maxRelays)]
	if slices.Contains(r.confirmed, old) {
		r.confirmed = append(slices.Clone(r.confirmed), s)
	}
}

// without returns a copy of relays that lacks one.
func without(relays []*relayState, s *relayState) []*relayState {
	return slices.DeleteFunc(slices.Clone(relays), func(old *relayState) bool { return old == s })
}
