package routing

import (
	"slices"
	"time"
)

// bucket holds the contacts of one range of distances (Kademlia §2.2).
type bucket[A any] struct {
	contacts list[A]
	spare    list[A]   // the replacement cache (Kademlia §4.1)
	marked   int       // contacts that failed and had no replacement
	looked   time.Time // the last lookup in the range
}

// entry is a contact and its state in the table.
type entry[A any] struct {
	Contact[A]
	groups []Group // as TableOptions.Groups named them when it came

	// Times are since the table's epoch: a third of a time.Time, and the hot
	// path compares them at every newcomer.
	seen    time.Duration
	retry   time.Duration // not to be offered for a ping before
	backoff time.Duration // above 0: marked, and this the wait after the next ping
}

func (e *entry[A]) isMarked() bool { return e.backoff > 0 }

// live returns how many contacts are not marked.
func (b *bucket[A]) live() int { return len(b.contacts.entries) - b.marked }

// touch notes a sign of life of contact i: it is the latest seen now.
func (b *bucket[A]) touch(i int, addr A, at time.Duration) {
	e := &b.contacts.entries[i]
	if e.isMarked() {
		b.marked--
	}
	e.Addr, e.seen, e.retry, e.backoff = addr, at, 0, 0
	b.contacts.toTail(i)
}

// mark notes that contact i does not answer. Of one already marked there is
// nothing new to note: its next ping is set.
func (b *bucket[A]) mark(i int, at time.Duration) {
	e := &b.contacts.entries[i]
	if e.isMarked() {
		return
	}
	e.backoff, e.retry = firstBackoff, at+firstBackoff
	b.marked++
}

// oldest returns the least recently seen contact that is not marked, or nil.
func (b *bucket[A]) oldest() *entry[A] {
	for i := range b.contacts.entries {
		if e := &b.contacts.entries[i]; !e.isMarked() {
			return e
		}
	}
	return nil
}

// keep puts a newcomer into the replacement cache, as the first in line. The
// cache is held to the same limits per group as the bucket, or one subnet
// could fill it and keep all other contacts from ever being promoted.
func (b *bucket[A]) keep(e entry[A], limit int) {
	if limit < 0 {
		return
	}
	for _, g := range e.groups {
		if g.PerBucket > 0 && b.spare.count(g.Name) >= g.PerBucket {
			b.spare.remove(b.spare.firstOf(g.Name))
		}
	}
	if len(b.spare.entries) >= limit {
		b.spare.remove(0)
	}
	b.spare.push(e, min(limit, DefaultK))
}

// split moves the contacts of depth's far half out of the last bucket and
// returns those that go on: bit depth of their distance to self is 0.
func (b *bucket[A]) split(self *Key, depth int) bucket[A] {
	next := bucket[A]{looked: b.looked}
	next.contacts = b.contacts.split(self, depth)
	next.spare = b.spare.split(self, depth)
	for i := range next.contacts.entries {
		if next.contacts.entries[i].isMarked() {
			next.marked++
		}
	}
	b.marked -= next.marked
	return next
}

// list is a sequence of entries, the least recently seen first. The leading
// words of the keys stand apart: to find a key among 20, or to order them, is
// to read 160 bytes in a row and not one line of every entry.
type list[A any] struct {
	heads   []uint64 // heads[i] is entries[i].Key.word(0)
	entries []entry[A]
}

// find returns where key stands, or -1.
func (l *list[A]) find(key *Key) int {
	head := key.word(0)
	for i, h := range l.heads {
		if h == head && l.entries[i].Key == *key {
			return i
		}
	}
	return -1
}

// push appends e as the latest seen. room is how many entries to make room for
// at the first: growing step by step would cost a filling table half its time.
func (l *list[A]) push(e entry[A], room int) {
	if l.entries == nil {
		l.heads, l.entries = make([]uint64, 0, room), make([]entry[A], 0, room)
	}
	l.heads = append(l.heads, e.Key.word(0))
	l.entries = append(l.entries, e)
}

// insert puts e where the time it was last seen belongs.
func (l *list[A]) insert(e entry[A]) {
	i := len(l.entries)
	for i > 0 && l.entries[i-1].seen > e.seen {
		i--
	}
	l.heads = slices.Insert(l.heads, i, e.Key.word(0))
	l.entries = slices.Insert(l.entries, i, e)
}

func (l *list[A]) remove(i int) {
	l.heads = slices.Delete(l.heads, i, i+1)
	l.entries = slices.Delete(l.entries, i, i+1) // clears what it leaves behind
}

func (l *list[A]) toTail(i int) {
	last := len(l.entries) - 1
	if i == last {
		return
	}
	h, e := l.heads[i], l.entries[i]
	copy(l.heads[i:], l.heads[i+1:])
	copy(l.entries[i:], l.entries[i+1:])
	l.heads[last], l.entries[last] = h, e
}

// split removes from l, and returns, those that share bit i with self.
// Both keep their order.
func (l *list[A]) split(self *Key, i int) list[A] {
	var near list[A]
	far := 0
	for j := range l.entries {
		d := self.Distance(l.entries[j].Key)
		if d.bit(i) == 0 {
			near.push(l.entries[j], len(l.entries))
			continue
		}
		l.heads[far], l.entries[far] = l.heads[j], l.entries[j]
		far++
	}
	clear(l.entries[far:])
	l.heads, l.entries = l.heads[:far], l.entries[:far]
	return near
}
