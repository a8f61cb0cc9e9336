package node

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/kadquic/kadquic/internal/netgroup"
	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/wire"
)

// maxSkews is how many peers' clocks are remembered.
const maxSkews = 32

// skew compares this node's clock with the clocks that peers send in HELLO. Records
// expire at an absolute time, so a clock that is far off makes a node's records
// worthless to others. Only peers that this node has dialled count: an attacker can dial it from
// many networks, but hardly chooses which peers it dials. Goroutines may share it.
type skew struct {
	mu     sync.Mutex
	clocks []clock // the latest maxSkews, in a ring
	next   int
}

// A clock is the clock of one peer, or of one network, so that a host with many
// identities counts once.
type clock struct {
	id  wire.PeerID  // zero: of a network
	net netip.Prefix // the zero Prefix: of a peer
	by  time.Duration
	at  time.Time // when it was compared with this node's clock
}

// observe records that a peer's clock is ahead of this node's clock by the given
// duration. If the peer's address is public, this replaces the last observation from
// its /24 (IPv6: /48).
func (s *skew) observe(id wire.PeerID, from netip.Addr, by time.Duration, now time.Time) {
	c := clock{id: id, by: by, at: now}
	if reach.ScopeOf(from) != reach.ScopePrivate && reach.ScopeOf(from) != reach.ScopeLoopback && reach.ScopeOf(from) != reach.ScopeLink {
		c.id, c.net = wire.PeerID{}, netgroup.Within(from, 24, 48)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.IndexFunc(s.clocks, func(o clock) bool { return o.id == c.id && o.net == c.net }); i >= 0 {
		s.clocks[i] = c
		return
	}
	if len(s.clocks) < maxSkews {
		s.clocks = append(s.clocks, c)
		return
	}
	s.clocks[s.next] = c
	s.next = (s.next + 1) % maxSkews
}

// median returns the median lead of other clocks over this node's, and false with fewer
// than three observations. It ignores observations from before this node's clock was set
// or this machine slept: monotonic and wall time then differ by a minute or more.
func (s *skew) median(now time.Time) (time.Duration, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var by []time.Duration
	for _, c := range s.clocks {
		if jump := now.Round(0).Sub(c.at.Round(0)) - now.Sub(c.at); jump.Abs() < time.Minute {
			by = append(by, c.by)
		}
	}
	if len(by) < 3 {
		return 0, false
	}
	slices.Sort(by)
	return by[len(by)/2], true
}
