package node

import (
	"slices"
	"sync"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// maxSkews is how many peers' clocks are remembered.
const maxSkews = 32

// skew compares our clock with those that peers tell in HELLO. Records end at
// an absolute time, so a clock that is far off makes a node's records worthless
// to others. Goroutines may share it.
type skew struct {
	mu    sync.Mutex
	peers []wire.PeerID // the latest maxSkews, in a ring with by
	by    []time.Duration
	next  int
}

func (s *skew) observe(id wire.PeerID, by time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.peers, id); i >= 0 {
		s.by[i] = by
		return
	}
	if len(s.peers) < maxSkews {
		s.peers, s.by = append(s.peers, id), append(s.by, by)
		return
	}
	s.peers[s.next], s.by[s.next] = id, by
	s.next = (s.next + 1) % maxSkews
}

// median returns how far others are ahead of us, once three or more have said.
func (s *skew) median() (time.Duration, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.by) < 3 {
		return 0, false
	}
	sorted := slices.Sorted(slices.Values(s.by))
	return sorted[len(sorted)/2], true
}
