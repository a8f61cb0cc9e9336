package routing

import (
	"iter"
	"math"
	"slices"
	"sort"
)

// Parts of the key space are reckoned by the leading word of keys. Two random
// keys that share 64 bits do not occur; for made-up ones a sweep may err.

// span is a part of the key space: the keys whose leading words are lo to hi,
// both included.
type span struct{ lo, hi uint64 }

// spans is a set of leading words: disjoint spans in ascending order, no two of
// which touch.
type spans []span

// add adds a span.
func (s *spans) add(n span) {
	from := sort.Search(len(*s), func(i int) bool { return n.lo == 0 || (*s)[i].hi >= n.lo-1 })
	to := from + sort.Search(len(*s)-from, func(i int) bool { return n.hi < math.MaxUint64 && (*s)[from+i].lo > n.hi+1 })
	if from < to {
		n.lo, n.hi = min(n.lo, (*s)[from].lo), max(n.hi, (*s)[to-1].hi)
	}
	*s = slices.Replace(*s, from, to, n)
}

// gap returns the first of n's words that are not in the set, false if all are.
func (s spans) gap(n span) (uint64, bool) {
	i := sort.Search(len(s), func(i int) bool { return s[i].hi >= n.lo })
	if i == len(s) || s[i].lo > n.lo {
		return n.lo, true
	}
	return s[i].hi + 1, s[i].hi < n.hi
}

// ball yields the words at most r from center, nearest first. Those nearer than
// any one bit of r are a subtree, and a span each.
func ball(center, r uint64) iter.Seq[span] {
	return func(yield func(span) bool) {
		if r == math.MaxUint64 {
			yield(span{0, r})
			return
		}
		for b := 63; b >= 0; b-- {
			if bit := uint64(1) << b; r&bit != 0 {
				below := bit - 1
				lo := (center ^ r&^(bit|below)) &^ below
				if !yield(span{lo, lo | below}) {
					return
				}
			}
		}
		yield(span{center ^ r, center ^ r})
	}
}
