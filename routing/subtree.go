package routing

import (
	"iter"
	"time"
)

// limit returns how many contacts bucket i may hold: k, and more while it is
// part of the complete subtree, where no contact is refused (end of Kademlia
// §2.4). A bucket is part of it while the deeper ones have fewer than k live contacts.
// 3k bounds what a lopsided or hostile network can make us keep.
func (t *Table[A]) limit(i int) int {
	if i == len(t.buckets)-1 || t.deeper(i) >= t.o.K {
		return t.o.K
	}
	return subtreeSlack * t.o.K
}

// deeper counts the live contacts in the buckets after i, up to k at least.
func (t *Table[A]) deeper(i int) (n int) {
	for j := len(t.buckets) - 1; j > i && n < t.o.K; j-- {
		n += t.buckets[j].live()
	}
	return n
}

// Complete returns the depth of the complete subtree around the own key: every
// node known that shares so many leading bits with it is a contact, and at
// least k of them are alive. 0 while the whole table has fewer than k.
func (t *Table[A]) Complete() int {
	n := 0
	for i := len(t.buckets) - 1; i > 0; i-- {
		if n += t.buckets[i].live(); n >= t.o.K {
			return i
		}
	}
	return 0
}

// Silent yields the live contacts of the complete subtree that have not been seen
// since before, so that a node that is responsible for values there may ping
// them: nothing else tells in time that a neighbour is gone. Seen and Failed may
// be called during the iteration, for contacts already yielded.
func (t *Table[A]) Silent(before time.Time) iter.Seq[Contact[A]] {
	return func(yield func(Contact[A]) bool) {
		var silent []Contact[A]
		at := before.Sub(t.epoch) // a reader must not set it: without one there is no contact
		for i := t.Complete(); i < len(t.buckets); i++ {
			for j := range t.buckets[i].contacts.entries {
				e := &t.buckets[i].contacts.entries[j]
				if e.seen >= at {
					break // least recently seen first
				}
				if !e.isMarked() {
					silent = append(silent, e.Contact)
				}
			}
		}
		for _, c := range silent {
			if !yield(c) {
				return
			}
		}
	}
}
