package reach

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/kadquic/kadquic/wire"
)

const (
	maxSubjects = 3  // addresses of one family
	maxAsked    = 12 // peers asked in a round, busy ones included
)

// Subjects returns the addresses to test by dial-back: all candidates of global scope, and
// SeenBy for a family that has none although peers see the node at one.
func (s *Self) Subjects(now time.Time) (all []netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	count := map[bool]int{}
	for _, p := range s.candidatesLocked(now) {
		is4 := p.At.Addr().Is4()
		if p.scope() == ScopeGlobal && (count[is4] < maxSubjects || p.Mapped) {
			all = append(all, p.At)
			count[is4]++
		}
	}
	for _, is4 := range []bool{true, false} {
		if count[is4] == 0 && s.votes.outside(is4).IsValid() {
			all = append(all, SeenBy(is4))
		}
	}
	return all
}

// Untried returns the subjects without a verdict.
func (s *Self) Untried(now time.Time) []netip.AddrPort {
	return slices.DeleteFunc(s.Subjects(now), func(at netip.AddrPort) bool { return s.Answer(at) != Unknown })
}

// An Answerer is a public server that can be asked to arrange a dial-back.
type Answerer struct {
	ID        wire.PeerID
	At        netip.Addr
	Connected bool
	Again     bool // it was asked within the last minute
}

// Answerers chooses the peers to ask about an address, one of each network; the order of all
// does not matter. First come peers whose report would count, because their network has
// reported no failure yet. Without hurry, peers to which something was sent lately come next, so
// that the others become strangers again, which alone can prove reachability. In a hurry, peers
// that were not asked within the last minute come next. Connected peers come before others.
func (s *Self) Answerers(at netip.AddrPort, hurry bool, all []Answerer, now time.Time) []wire.PeerID {
	type ranked struct {
		Answerer
		counted, stranger, again bool
	}
	var queue []ranked
	s.mu.Lock()
	v := s.verdicts[at]
	for _, a := range all {
		queue = append(queue, ranked{a, v.vouched(SiteOf(a.At)), !hurry && !s.contacted.has(a.At, now), hurry && a.Again})
	}
	s.mu.Unlock()
	slices.SortStableFunc(queue, func(a, b ranked) int {
		return cmp.Or(compareBool(a.counted, b.counted), compareBool(a.stranger, b.stranger), compareBool(a.again, b.again), compareBool(b.Connected, a.Connected))
	})
	var ids []wire.PeerID
	networks := make(map[netip.Prefix]bool)
	for _, a := range queue {
		if !networks[SiteOf(a.At)] && len(ids) < maxAsked {
			networks[SiteOf(a.At)] = true
			ids = append(ids, a.ID)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.askable = len(networks)
	return ids
}
