package node

import (
	"sync"
	"time"
)

// A replayCache remembers the keys of introductions for as long as these would be
// believed. It has no bound of its own: what is looked at at all is limited, so that
// there are never more than callsRate a second and callsBurst. The zero value is empty;
// goroutines may share it.
type replayCache struct {
	mu    sync.Mutex
	seen  map[[32]byte]struct{}
	order []keyAt
}

type keyAt struct {
	key [32]byte
	at  time.Time
}

// believed is for how long an introduction may be shown again.
const believed = 2 * maxCallAge

// fresh notes a key and reports whether it is new.
func (r *replayCache) fresh(key [32]byte, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.order) > 0 && now.Sub(r.order[0].at) > believed {
		delete(r.seen, r.order[0].key)
		r.order = r.order[1:]
	}
	if _, seen := r.seen[key]; seen {
		return false
	}
	if r.seen == nil {
		r.seen = make(map[[32]byte]struct{})
	}
	r.seen[key] = struct{}{}
	r.order = append(r.order, keyAt{key, now})
	return true
}
