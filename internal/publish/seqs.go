package publish

import (
	"maps"
	"sync"
	"time"

	"github.com/kadquic/kadquic/routing"
)

// seqs gives records their sequence numbers: Unix milliseconds, or one more than the last
// when a key is put several times within a millisecond. Goroutines may share it.
type seqs struct {
	mu   sync.Mutex
	last map[routing.Key]uint64 // by key; past ones may be missing
}

// maxSeqs is the number of keys above which keys with past numbers are dropped.
const maxSeqs = 256

// next returns a sequence number for key that is higher than its last and above.
func (s *seqs) next(key routing.Key, above uint64, now time.Time) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	ms := uint64(now.UnixMilli())
	if len(s.last) >= maxSeqs {
		maps.DeleteFunc(s.last, func(_ routing.Key, seq uint64) bool { return seq < ms })
	}
	seq := max(ms, s.last[key]+1, above+1)
	s.last[key] = seq
	return seq
}
