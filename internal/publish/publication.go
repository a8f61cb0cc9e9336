package publish

import (
	"time"

	"github.com/kadquic/kadquic/wire"
)

// A publication is the state of one record that is kept alive. Guarded by published.mu.
type publication struct {
	version   *version  // the latest, stored anywhere or not
	renewed   time.Time // zero: not in this process
	next      time.Time // when it is due
	failures  int       // to renew it, in a row
	count, of int
	err       error
}

// A version is the result of one put of a publication. published.mu guards it, except its
// constants.
type version struct {
	at     Key          // constant
	once   bool         // when it is stored there is nothing left to renew; constant
	record *wire.Signed // signed last
	above  uint64       // the next signature takes a sequence number above it; 0: the same as before
	out    bool         // a peer, or this node, has stored it
	before *version     // current again if no peer stores this one; nil once one has
}

// An Outcome says where a record went.
type Outcome struct {
	Count, Of int // peers that acknowledged it, this node too, of so many
	Err       error
	Isolated  bool // no other peer could be reached: at most this node stored it
}

// A tombstone. Guarded by tombstones.mu.
type tombstone struct {
	record *wire.Signed // the version that took the record's place; constant
	next   time.Time
}

// until is when the record that t replaces has ended at every holder.
func (t *tombstone) until() time.Time { return t.record.Record.Expiry.Add(wire.MaxTTL) }

// renewAfter is when a record is signed again, counted from its last signature: early enough
// for some failures before it ends.
func renewAfter(life time.Duration) time.Duration { return life / 6 * 5 }

// retryAfter is when a renewal that failed is tried again.
func retryAfter(failures int, life time.Duration) time.Duration {
	return min(30*time.Second<<min(failures-1, 10), 10*time.Minute, life/24)
}

// fail notes that x could not be renewed.
func (x *publication) fail(err error, life time.Duration, now time.Time) {
	x.failures++
	x.err = err
	x.next = now.Add(retryAfter(x.failures, life))
}
