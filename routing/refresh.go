package routing

import (
	"iter"
	"math/rand/v2"
	"time"
)

// Looked notes a lookup of target: the range it lies in is fresh.
func (t *Table[A]) Looked(target Key, now time.Time) {
	t.bucket(t.index(target)).looked = now
}

// Stale yields, for each bucket in whose range nothing was looked up since
// before, a random key of that range, farthest range first: looking these keys
// up is the refresh of Kademlia §2.3. A new table is stale all over. The bits
// that src does not decide are the own key's, so that a bucket's refresh stays
// in that bucket's own range. Seen, Failed and Looked may be called meanwhile.
func (t *Table[A]) Stale(before time.Time, src rand.Source) iter.Seq[Key] {
	return func(yield func(Key) bool) {
		for i := 0; i < len(t.buckets); i++ {
			if !t.buckets[i].looked.Before(before) {
				continue
			}
			key := RandomKey(t.self, i, src) // the last: own key's first i bits, any rest
			if i < len(t.buckets)-1 {
				key = RandomKey(t.self.flip(i), i+1, src)
			}
			if !yield(key) {
				return
			}
		}
	}
}

// Ranges yields a random key for each range that lies farther from self than
// nearest, farthest first: keys that share exactly 0, 1, 2, … bits with self, as
// many as nearest does, and no more than 255. A node that joins looks these up
// after itself (Kademlia §2.3); its buckets have not split yet, so they do not
// tell the ranges.
func Ranges(self, nearest Key, src rand.Source) iter.Seq[Key] {
	return func(yield func(Key) bool) {
		for i := range min(self.CommonPrefixLen(nearest), 255) + 1 {
			if !yield(RandomKey(self.flip(i), i+1, src)) {
				return
			}
		}
	}
}

// Suspects yields the marked contacts whose next ping is due, which starts the
// wait for the one after. The caller pings each and reports Seen or Failed, at
// once or later.
func (t *Table[A]) Suspects(now time.Time) iter.Seq[Contact[A]] {
	return func(yield func(Contact[A]) bool) {
		at := t.since(now)
		for i := 0; i < len(t.buckets); i++ {
			for j := 0; t.buckets[i].marked > 0 && j < len(t.buckets[i].contacts.entries); j++ {
				e := &t.buckets[i].contacts.entries[j]
				if !e.isMarked() || at < e.retry {
					continue
				}
				e.backoff = min(2*e.backoff, lastBackoff)
				e.retry = at + e.backoff
				if !yield(e.Contact) {
					return
				}
			}
		}
	}
}

// Bucket is a copy of one bucket at the time Buckets yielded it, for display.
type Bucket[A any] struct {
	Depth        int          // leading bits its contacts share with the own key
	Last         bool         // it holds those that share more, too
	Contacts     []Contact[A] // least recently seen first, marked ones too
	Marked       int          // of the Contacts
	Replacements int          // waiting in its cache
	Looked       time.Time    // the last lookup in its range; zero if none yet
}

// Buckets yields a copy of each bucket, farthest from the own key first.
func (t *Table[A]) Buckets() iter.Seq[Bucket[A]] {
	return func(yield func(Bucket[A]) bool) {
		for i := 0; i < len(t.buckets); i++ {
			b := t.bucket(i)
			v := Bucket[A]{
				Depth: i, Last: i == len(t.buckets)-1,
				Contacts: make([]Contact[A], len(b.contacts.entries)),
				Marked:   b.marked, Replacements: len(b.spare.entries), Looked: b.looked,
			}
			for j := range b.contacts.entries {
				v.Contacts[j] = b.contacts.entries[j].Contact
			}
			if !yield(v) {
				return
			}
		}
	}
}
