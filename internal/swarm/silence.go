package swarm

import (
	"sync"
	"time"
)

// Silence measures for how long a connection has received nothing. The zero value is
// ready to use. Goroutines may share it.
type Silence struct {
	mu      sync.Mutex
	packets uint64    // received at the latest call of Lasts
	at      time.Time // when a call of Lasts first saw this number
}

// Lasts reports whether the number of received packets has been the same in all calls of
// Lasts during the last d, the first of them at least d ago.
func (s *Silence) Lasts(packets uint64, now time.Time, d time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if packets != s.packets {
		s.packets, s.at = packets, now
	}
	return now.Sub(s.at) >= d
}
