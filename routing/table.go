package routing

import (
	"iter"
	"slices"
	"time"
)

const (
	// DefaultK is the paper's k: the size of a bucket, and the number of nodes
	// that hold a value.
	DefaultK = 20
	// DefaultProbeAfter is how long a contact may be silent before a newcomer
	// makes the table ask for a ping.
	DefaultProbeAfter = 10 * time.Minute

	// maxK bounds the K of a table and of a lookup, so that no multiple of it
	// overflows.
	maxK = 1 << 16

	firstBackoff = 5 * time.Second // of a marked contact; doubles
	lastBackoff  = 5 * time.Minute
	probeAgain   = time.Minute // a probe without a result is offered again
	subtreeSlack = 3           // buckets of the complete subtree hold up to this times k
)

// Contact is a node: its key, and whatever the user needs to reach it.
type Contact[A any] struct {
	Key  Key
	Addr A
}

// TableOptions are the parameters of a Table. The zero value works.
type TableOptions[A any] struct {
	// K is the size of a bucket (Kademlia §2.2). If not positive, DefaultK.
	// At most 65,536. Up to 21 AppendNearest takes its fastest path.
	K int
	// ProbeAfter is how long the least recently seen contact of a full bucket
	// must have been silent before Seen offers it for a ping.
	// If zero, DefaultProbeAfter. If negative, none is ever offered: the
	// replacement cache alone, as in Kademlia §4.1.
	ProbeAfter time.Duration
	// Replacements is the size of each bucket's replacement cache
	// (Kademlia §4.1). If zero, K. If negative, there is none.
	Replacements int
	// Groups names the groups that a newcomer belongs to; the table holds each
	// to its limits. It is called when a contact is inserted or cached, and by
	// Regroup, not when one is seen again. If nil, there are no groups.
	Groups func(Contact[A]) []Group
	// Joined and Left, if not nil, are told of each contact that enters and
	// leaves the table. They run in the middle of a change: they must not call
	// the table's methods.
	Joined, Left func(Contact[A])
}

// Table is the routing table of one node: the contacts it keeps, dense near
// its own key and sparse far away (Kademlia §2.4).
//
// It is a vector of buckets. Bucket i holds contacts that share exactly i
// leading bits with the own key; the last holds those that share its index or
// more, and is the only one to split when full. It is the right spine of the
// paper's binary tree.
//
// Like a map, a Table may be read by many goroutines at once, but not while
// one changes it: callers lock. It has no clock: now is passed in, and should
// not run backwards. Make one with NewTable.
type Table[A any] struct {
	self    Key
	o       TableOptions[A]
	buckets []bucket[A] // never empty
	size    int         // contacts in all buckets
	groups  map[any]int // contacts in the table, by Group.Name
	epoch   time.Time   // the first now
}

// NewTable returns an empty table for the node whose key is self.
func NewTable[A any](self Key, o TableOptions[A]) *Table[A] {
	if o.K <= 0 {
		o.K = DefaultK
	}
	o.K = min(o.K, maxK)
	if o.ProbeAfter == 0 {
		o.ProbeAfter = DefaultProbeAfter
	}
	if o.Replacements == 0 {
		o.Replacements = o.K
	}
	t := &Table[A]{self: self, o: o, buckets: make([]bucket[A], 1)}
	if o.Groups != nil {
		t.groups = make(map[any]int)
	}
	return t
}

// Self returns the key of the node whose table this is.
func (t *Table[A]) Self() Key { return t.self }

// Len returns the number of contacts, marked ones too.
func (t *Table[A]) Len() int { return t.size }

// Contains reports whether key is a contact of the table, marked or not.
func (t *Table[A]) Contains(key Key) bool {
	return t.bucket(t.index(key)).contacts.find(&key) >= 0
}

// Marked reports whether key is a contact that has failed and not been seen
// since.
func (t *Table[A]) Marked(key Key) bool {
	b := t.bucket(t.index(key))
	if b.marked == 0 {
		return false
	}
	i := b.contacts.find(&key)
	return i >= 0 && b.contacts.entries[i].isMarked()
}

// All yields every contact, marked ones too, in no particular order. The table
// must not change meanwhile.
func (t *Table[A]) All() iter.Seq[Contact[A]] {
	return func(yield func(Contact[A]) bool) {
		for i := range t.buckets {
			for j := range t.buckets[i].contacts.entries {
				if !yield(t.buckets[i].contacts.entries[j].Contact) {
					return
				}
			}
		}
	}
}

// Seen notes a sign of life: c answered, or was heard of in a way that proves
// that it lives. A known contact becomes its bucket's latest seen and takes
// c's address; a newcomer is inserted where there is room, in place of a
// marked contact if need be, and otherwise waits in the replacement cache. The
// own key is ignored.
//
// If ok, the newcomer's bucket is full and probe, its least recently seen
// contact, has been silent for ProbeAfter: the caller should ping it and
// report Seen or Failed, which evicts it (Kademlia §2.2, guarded: one ping for
// any number of newcomers, none while contacts are fresh).
func (t *Table[A]) Seen(c Contact[A], now time.Time) (probe Contact[A], ok bool) {
	cpl := t.self.CommonPrefixLen(c.Key)
	if cpl == KeyBits {
		return probe, false
	}
	at := t.since(now)
	b := t.bucket(min(cpl, len(t.buckets)-1))
	if i := b.contacts.find(&c.Key); i >= 0 {
		b.touch(i, c.Addr, at)
		return probe, false
	}
	return t.offer(c, cpl, at)
}

// offer is Seen for a key that is no contact and shares cpl bits with self.
func (t *Table[A]) offer(c Contact[A], cpl int, at time.Duration) (probe Contact[A], ok bool) {
	e := entry[A]{Contact: c, seen: at}
	if t.o.Groups != nil {
		e.groups = slices.Clip(t.o.Groups(c))
	}
	i := min(cpl, len(t.buckets)-1)
	for i == len(t.buckets)-1 && len(t.bucket(i).contacts.entries) >= t.o.K && len(t.buckets) < KeyBits {
		t.buckets = append(t.buckets, t.bucket(i).split(&t.self, i)) // Kademlia §2.4
		i = min(cpl, len(t.buckets)-1)                               // all may have gone to one side: look again
	}
	b := t.bucket(i)
	if j := b.spare.find(&c.Key); j >= 0 {
		b.spare.remove(j)
	}
	if len(b.contacts.entries) < t.limit(i) && t.fits(b, e.groups, nil) {
		b.contacts.push(e, min(t.o.K, rankable))
		t.joined(&e)
		return probe, false
	}
	for j := 0; b.marked > 0 && j < len(b.contacts.entries); j++ {
		if m := &b.contacts.entries[j]; m.isMarked() && t.fits(b, e.groups, m) {
			t.evict(b, j)
			b.contacts.push(e, min(t.o.K, rankable))
			t.joined(&e)
			return probe, false
		}
	}
	b.keep(e, t.o.Replacements)
	o := b.oldest()
	if o == nil || t.o.ProbeAfter < 0 || at-o.seen < t.o.ProbeAfter || at < o.retry || !t.fits(b, e.groups, o) {
		return probe, false
	}
	o.retry = at + probeAgain
	return o.Contact, true
}

// Failed notes that a request to key went unanswered. If a contact waits in
// the bucket's replacement cache, the one that failed is evicted and the latest
// seen of those that the groups admit is promoted in its place. The promoted
// contact stands where the time it was last seen belongs, not at the tail, since
// nothing was heard from it now. A key that itself waits in the cache is dropped
// from there.
//
// If none waits, the contact stays, since a table may not empty because the
// own cable was pulled, but marked (Kademlia §4.1): it is given to no one, the
// first newcomer takes its place, and Suspects offers it for a ping after 5 s,
// then at intervals that double up to 5 min. Seen clears the mark. A bucket
// that is over its size lets it go, however.
func (t *Table[A]) Failed(key Key, now time.Time) (promoted Contact[A], ok bool) {
	at := t.since(now)
	i := t.index(key)
	b := t.bucket(i)
	if j := b.spare.find(&key); j >= 0 {
		b.spare.remove(j)
		return promoted, false
	}
	j := b.contacts.find(&key)
	if j < 0 {
		return promoted, false
	}
	if len(b.contacts.entries) > t.limit(i) {
		t.evict(b, j)
		return promoted, false
	}
	s := t.successor(b, &b.contacts.entries[j])
	if s < 0 {
		b.mark(j, at)
		return promoted, false
	}
	t.evict(b, j)
	return t.promote(b, s), true
}

// Remove drops key at once, as when it has said that it leaves, and promotes a
// replacement as Failed does. It reports whether key was a contact.
func (t *Table[A]) Remove(key Key) bool {
	i := t.index(key)
	b := t.bucket(i)
	if j := b.spare.find(&key); j >= 0 {
		b.spare.remove(j)
		return false
	}
	j := b.contacts.find(&key)
	if j < 0 {
		return false
	}
	s := -1
	if len(b.contacts.entries) <= t.limit(i) {
		s = t.successor(b, &b.contacts.entries[j])
	}
	t.evict(b, j)
	if s >= 0 {
		t.promote(b, s)
	}
	return true
}

// Regroup is for a contact whose address has changed: it asks Groups again. A contact
// that the limits of its new groups do not admit is dropped, as by Remove, or
// identities could enter from many networks and then move to one. It reports whether
// c is a contact of the table afterwards.
func (t *Table[A]) Regroup(c Contact[A]) bool {
	b := t.bucket(t.index(c.Key))
	if i := b.contacts.find(&c.Key); i >= 0 {
		return t.regroup(b, i, c)
	}
	if i := b.spare.find(&c.Key); i >= 0 && t.o.Groups != nil {
		e := b.spare.entries[i]
		b.spare.remove(i)
		e.Contact, e.groups = c, slices.Clip(t.o.Groups(c))
		for _, g := range e.groups {
			if g.PerBucket > 0 && b.spare.count(g.Name) >= g.PerBucket {
				return false // the cache is held to the same limits
			}
		}
		b.spare.insert(e)
	}
	return false
}

// regroup is Regroup for the contact at index i of a bucket.
func (t *Table[A]) regroup(b *bucket[A], i int, c Contact[A]) bool {
	e := &b.contacts.entries[i]
	var groups []Group
	if t.o.Groups != nil {
		groups = slices.Clip(t.o.Groups(c))
	}
	if !t.fits(b, groups, e) {
		t.Remove(c.Key)
		return false
	}
	t.tally(e, -1)
	e.Addr, e.groups = c.Addr, groups
	t.tally(e, 1)
	return true
}

// successor returns which of b's replacements would take gone's place: the
// latest seen that the groups admit. -1 if none.
func (t *Table[A]) successor(b *bucket[A], gone *entry[A]) int {
	for s := len(b.spare.entries) - 1; s >= 0; s-- {
		if t.fits(b, b.spare.entries[s].groups, gone) {
			return s
		}
	}
	return -1
}

func (t *Table[A]) promote(b *bucket[A], s int) Contact[A] {
	e := b.spare.entries[s]
	b.spare.remove(s)
	b.contacts.insert(e)
	t.joined(&e)
	return e.Contact
}

func (t *Table[A]) joined(e *entry[A]) {
	t.size++
	t.tally(e, 1)
	if t.o.Joined != nil {
		t.o.Joined(e.Contact)
	}
}

func (t *Table[A]) evict(b *bucket[A], j int) {
	e := b.contacts.entries[j]
	if e.isMarked() {
		b.marked--
	}
	b.contacts.remove(j)
	t.size--
	t.tally(&e, -1)
	if t.o.Left != nil {
		t.o.Left(e.Contact)
	}
}

func (t *Table[A]) index(key Key) int {
	return min(t.self.CommonPrefixLen(key), len(t.buckets)-1)
}

func (t *Table[A]) bucket(i int) *bucket[A] { return &t.buckets[i] }

// since returns now as a time since the epoch, which it sets at the first call. It
// is for methods that change the table.
func (t *Table[A]) since(now time.Time) time.Duration {
	if t.epoch.IsZero() {
		t.epoch = now
	}
	return now.Sub(t.epoch)
}
