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
// has one: it measures the life of a record from the time of receipt, so that a jump of the
// wall clock neither revives nor ends a held record.
type Store interface {
	// Put offers the items in order; a disk store syncs once for all of them. There is one
	// error for each item. nil means that the record, or one of the same value that lives
	// at least as long, is held now. Other errors are a wire.Code or wrap one: CodeStale (a
	// newer one is or was held), CodeExpired, CodeFull (a quota), CodeTooFar (a cached
	// copy for which there is no room), CodeConflict (Item.IfSeq), CodeInvalid (a kind
	// that is not stored), CodeReadOnly (the disk cannot be written at present).
	//
	// Of two records of one kind under one key these win: of content, the later expiry; of
	// owned and peer records, wire.Newer, and an owned record is also refused if its sequence
	// number is lower than any seen in 7 days; of open and provider records, the newer one of
	// each publisher, beside those of other publishers. When the room of a key is used up, an
	// open record gets CodeFull, and a provider record replaces another (see share.go).
	Put(now time.Time, batch []Item) []error

	// Get returns up to n live records of one kind under key, best first.
	Get(now time.Time, kind wire.Kind, key routing.Key, n int) []*wire.Signed

	// Page returns the live records of one kind under key in the order of their publishers,
	// beginning after the publisher after: at most n records and, except for the first, at
	// most size bytes as on the wire. It reports whether there are more.
	Page(now time.Time, kind wire.Kind, key routing.Key, after wire.PeerID, n, size int) (page []*wire.Signed, more bool)

	// Has reports whether exactly that record is held and alive.
	Has(now time.Time, r *wire.Signed) bool

	// Offer says of each record whether to send it: it is not held, or only as a
	// cached copy, or not yet so that it would outlive a crash. A record that is
	// held counts as received now if suppresses(i); nil means that none does.
	// suppresses must not call the store.
	Offer(now time.Time, offered []wire.Offered, suppresses func(i int) bool) (want []bool)

	// Seq returns the highest sequence number of an owned key that is held or
	// remembered, false if there is none.
	Seq(now time.Time, key routing.Key) (seq uint64, ok bool)

	// All yields the live records, in no order, and reads no payload. The
	// store is not locked while the caller looks at one; it may call its methods.
	All(now time.Time) iter.Seq[Held]

	// Load returns exactly the record that All yielded, nil if it is no longer held.
	Load(now time.Time, h Held) *wire.Signed

	// Expire drops ended records and returns their number.
	Expire(now time.Time) int

	// Len is the number of records held, Bytes the room they take, each counted
	// with Overhead.
	Len() int
	Bytes() int64

	// Close releases the resources of the store. No other method may be called after it.
	Close() error
}

// An Item is a record on its way in.
type Item struct {
	Record *wire.Signed // verified; kept as it is, so not to be changed any more

	// Source is the address it came from. The quota per source counts it with all
	// of its /24 (IPv6: /64), unless that is private. The zero Addr (our own user) and loopback are exempt.
	Source netip.Addr

	// Neighbour says that the sender is in the complete subtree of this node. It may use a
	// quarter of the store, because it has half of this node's records to hand over.
	Neighbour bool

	// Neighbours is the number of neighbours. If there are at most eight, the records of this
	// node can come from any of them, so each may use its part of the store; a single one
	// may use three quarters, which leaves room for the node's user and later peers. If zero,
	// many.
	Neighbours int

	// Cached marks a copy beyond the k nearest (Kademlia §2.3): it gives way before
	// any other record and is not republished. See CacheLife.
	Cached bool

	// NoSuppress says that the other holders may not have received this record from its
	// sender. If it is held already, its time of receipt stays, so that its next
	// republication stays due (Kademlia §2.5).
	NoSuppress bool

	// IfSeq makes the Put of an owned record a compare-and-set: CodeConflict unless
	// the highest sequence held or remembered is this, 0 meaning none. The very
	// record that is held already is no conflict: its sender asks again. If nil,
	// no condition.
	IfSeq *uint64

	// Life shortens how long the record is kept, from receipt. If zero, until its
	// signed expiry, which nothing lengthens.
	Life time.Duration
}

// Held tells of a record in the store; Load returns the record.
type Held struct {
	Kind      wire.Kind
	Key       routing.Key
	Publisher wire.PeerID
	Seq       uint64
	Expiry    time.Time // as signed, UTC
	Print     wire.Print
	Size      int // of the Signed in bytes, as on the wire

	// Received is when this very record was last put or offered, NoSuppress not
	// counted. After a restart it is the time of receipt by the wall clock.
	Received time.Time
	Until    time.Time // it is dropped then
	Cached   bool
}
