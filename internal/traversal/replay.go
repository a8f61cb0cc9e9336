package traversal

import (
	"sync"
	"time"
)

// A replayCache remembers the keys of offers for as long as parseOffer could accept them
// again. Its size is bounded by callRate and callBurst, which limit the calls that are
// looked at. The zero value is empty; goroutines may share it.
type replayCache struct {
	mu    sync.Mutex
	keys  map[[32]byte]struct{}
	order []keyTime // oldest first
}

type keyTime struct {
	key [32]byte
	at  time.Time
}

// replayLife is how long a key is remembered: an offer may be MaxOfferAge in the future.
const replayLife = 2 * MaxOfferAge

// add adds a key and reports whether it is new.
func (r *replayCache) add(key [32]byte, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.order) > 0 && now.Sub(r.order[0].at) > replayLife {
		delete(r.keys, r.order[0].key)
		r.order = r.order[1:]
	}
	if _, ok := r.keys[key]; ok {
		return false
	}
	if r.keys == nil {
		r.keys = make(map[[32]byte]struct{})
	}
	r.keys[key] = struct{}{}
	r.order = append(r.order, keyTime{key, now})
	return true
}
