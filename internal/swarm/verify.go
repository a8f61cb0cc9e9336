package swarm

import (
	"crypto/sha256"
	"sync"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// maxVerified bounds the results that a VerifyCache remembers, at some 100 bytes each.
const maxVerified = 4096

// A VerifyCache remembers which peer records verify. So the signature of each record is
// checked once (50 µs), when the node first passes the record on, and not with each
// connection that brings it. When the cache is full, it drops the oldest result. The zero
// value is empty. Goroutines may share it.
type VerifyCache struct {
	mu      sync.Mutex
	results map[[sha256.Size]byte]bool
	order   [][sha256.Size]byte // a ring, once it is full
	oldest  int
	checks  int // signatures checked
}

// Verify reports whether r verifies while it lives. The caller compares its lifetime with
// the time now.
func (c *VerifyCache) Verify(r *wire.Signed) bool {
	h := sha256.New()
	h.Write(r.Signature[:])
	h.Write(r.Payload)
	key := [sha256.Size]byte(h.Sum(nil))
	c.mu.Lock()
	result, ok := c.results[key]
	c.mu.Unlock()
	if ok {
		return result
	}
	result = r.Verify(r.Record.Expiry.Add(-time.Millisecond)) == nil
	c.mu.Lock()
	defer c.mu.Unlock()
	c.checks++
	if _, ok := c.results[key]; ok { // another goroutine was as fast
		return result
	}
	if c.results == nil {
		c.results = make(map[[sha256.Size]byte]bool)
	}
	c.results[key] = result
	if len(c.order) < maxVerified {
		c.order = append(c.order, key)
		return result
	}
	delete(c.results, c.order[c.oldest])
	c.order[c.oldest] = key
	c.oldest = (c.oldest + 1) % maxVerified
	return result
}

// Checks returns how many signatures were checked.
func (c *VerifyCache) Checks() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.checks
}
