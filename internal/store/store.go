// Package store holds the records that other peers, and our own user, have put
// at this node. [Store] is what a node needs of it; [Memory] is the one that ends
// with the process, for tests and short-lived nodes.
//
// A store trusts its caller for signatures: every record that enters was verified.
// It decides the rest: which of two records stands (each kind by its own rule, see
// Put), how long, and whose give way when room is short.
package store

import (
	"iter"
	"net/netip"
	"time"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// A Store holds verified records. It is safe for concurrent use.
// Time is an argument, and must carry Go's monotonic reading where the process
// has one: how long a record is kept is measured by it from the time of receipt,
// so that a wall clock that jumps neither revives nor kills what is held.
type Store interface {
	// Put offers the items, in order and at once: a disk store syncs one time for
	// all of them. The errors answer the items one by one; nil means that the
	// record, or one of the same value that lives at least as long, is held now.
	// The others are a wire.Code: CodeStale (a newer one is or was held),
	// CodeExpired, CodeFull (a quota, or all that is held lies nearer to us),
	// CodeInvalid (a kind that nobody stores).
	//
	// Which of two records under one key of one kind stands:
	// content, the later expiry; owned and peer, wire.Newer, and an owned record is
	// refused also when its sequence number is lower than any seen in 7 days; open
	// and provider, one of each publisher, the newer, all side by side, and when
	// the key's quota is used up wire.Better.
	Put(now time.Time, batch []Item) []error

	// Get returns up to n live records of one kind under key, best first.
	Get(now time.Time, kind wire.Kind, key routing.Key, n int) []*wire.Signed

	// Has reports whether that very record is held and alive.
	Has(now time.Time, r *wire.Signed) bool

	// All yields what is held and alive, in no order. The store is not locked while
	// the caller looks at one; it may call the store's methods.
	All(now time.Time) iter.Seq[Held]

	// Expire drops what has ended and returns how many records that were.
	Expire(now time.Time) int

	// Len is the number of records held, Bytes the room they take, each counted
	// with Overhead.
	Len() int
	Bytes() int64

	// Close releases what the store holds open. No other method may be called after.
	Close() error
}

// An Item is a record on its way in.
type Item struct {
	Record *wire.Signed // verified; kept as it is, so not to be changed any more

	// Source is the address it came from. The quota per source counts it with all
	// of its /24 (IPv6: /64). The zero Addr (our own user) and loopback are exempt.
	Source netip.Addr

	// Neighbour says that the sender is in our complete subtree. It may have a
	// quarter of the store, since it has half of what we hold to hand over.
	Neighbour bool

	// Cached marks a copy beyond the k nearest (Kademlia §2.3): it gives way before
	// any other record and is not republished. See CacheLife.
	Cached bool

	// Life shortens how long the record is kept, from receipt. If zero, until its
	// signed expiry, which nothing lengthens.
	Life time.Duration
}

// Held is a record in the store.
type Held struct {
	Record   *wire.Signed
	Received time.Time // of the last Put of this very record: a republish within the hour is needless
	Until    time.Time // it is dropped then
	Cached   bool
}
