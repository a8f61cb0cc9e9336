package routing

import (
	"iter"
	"slices"
)

// AppendNearest appends to dst the n live contacts nearest to target, nearest
// first, or all there are if they are fewer. It is exact, and allocates
// nothing if dst has room.
func (t *Table[A]) AppendNearest(dst []Contact[A], target Key, n int) []Contact[A] {
	start := len(dst)
	w := t.walk(target)
	for len(dst)-start < n {
		i := w.next()
		if i < 0 {
			break
		}
		left := n - (len(dst) - start)
		if b := t.bucket(i); len(b.contacts.entries) <= rankable {
			dst = b.appendNearest(dst, &target, left)
		} else {
			dst = b.appendNearestWide(dst, &target, left)
		}
	}
	return dst
}

// Nearest yields every live contact, nearest to target first. The table must
// not change meanwhile.
func (t *Table[A]) Nearest(target Key) iter.Seq[Contact[A]] {
	return func(yield func(Contact[A]) bool) {
		w := t.walk(target)
		var buf []Contact[A]
		for i := w.next(); i >= 0; i = w.next() {
			b := t.bucket(i)
			if buf == nil {
				buf = make([]Contact[A], 0, max(min(t.o.K, rankable), len(b.contacts.entries)))
			}
			if len(b.contacts.entries) <= rankable {
				buf = b.appendNearest(buf[:0], &target, len(b.contacts.entries))
			} else {
				buf = b.appendNearestWide(buf[:0], &target, len(b.contacts.entries))
			}
			for _, c := range buf {
				if !yield(c) {
					return
				}
			}
		}
	}
}

// Closer returns how many live contacts are nearer to target than the own key
// is. The life of a cached value depends on this number (Kademlia §2.3).
func (t *Table[A]) Closer(target Key) (n int) {
	d := t.self.Distance(target)
	last := len(t.buckets) - 1
	for i := range last {
		// All in bucket i differ from self at bit i, and nowhere before: they
		// are nearer if self and target differ there, farther if not.
		if d.bit(i) == 1 {
			n += t.buckets[i].live()
		}
	}
	for i := range t.buckets[last].contacts.entries {
		e := &t.buckets[last].contacts.entries[i]
		if !e.isMarked() && target.CompareDistance(e.Key, t.self) < 0 {
			n++
		}
	}
	return n
}

// walk visits the buckets in the order of their distance from a target. They
// are disjoint subtrees of the key space, so whole buckets are in order: with
// d = self xor target, first each i whose bit of d is 1, ascending, as
// crossing over at i mends that bit and leaves those before it; then the last
// bucket, around self; then each i whose bit is 0, descending, as the later
// the bit that is spoilt the better. Only inside a bucket is sorting needed.
type walk struct {
	d    Distance
	i    int // the bucket last visited
	last int
	back bool // beyond the last bucket, on the way down
}

func (t *Table[A]) walk(target Key) walk {
	return walk{d: t.self.Distance(target), i: -1, last: len(t.buckets) - 1}
}

// next returns the next bucket's index, or -1 when all were visited.
func (w *walk) next() int {
	if !w.back {
		for w.i++; w.i < w.last && w.d.bit(w.i) == 0; w.i++ {
		}
		w.back = w.i >= w.last
		return w.i
	}
	for w.i--; w.i >= 0 && w.d.bit(w.i) == 1; w.i-- {
	}
	return w.i
}

// rankable is how many contacts of one bucket rank orders: as many as six bits
// can number, enough for the 3k of a k of 20.
const (
	rankBits = 6
	rankable = 1 << rankBits
)

// appendNearest appends the bucket's up to n live contacts nearest to target.
// The bucket has at most rankable contacts.
func (b *bucket[A]) appendNearest(dst []Contact[A], target *Key, n int) []Contact[A] {
	var ranks [rankable]uint64
	m := min(b.rank(&ranks, target), n)
	dst = slices.Grow(dst, m)
	for _, r := range ranks[:m] {
		dst = append(dst, b.contacts.entries[r%rankable].Contact)
	}
	return dst
}

// rank fills ranks with the bucket's live contacts, nearest to target first,
// and returns how many there are. The low bits of a rank are the contact's
// index, the others the leading bits of its distance: sorting plain words is
// several times faster than sorting contacts by a function. Where leading bits
// tie, which takes a deep bucket or a forger, the whole distance decides.
func (b *bucket[A]) rank(ranks *[rankable]uint64, target *Key) int {
	head := target.word(0)
	n := 0
	for i, h := range b.contacts.heads {
		if b.marked > 0 && b.contacts.entries[i].isMarked() {
			continue
		}
		r := (h^head)&^(rankable-1) | uint64(i)
		j := n
		for ; j > 0 && ranks[j-1] > r; j-- {
			ranks[j] = ranks[j-1]
		}
		ranks[j] = r
		n++
	}
	for i := 1; i < n; i++ {
		for j := i; j > 0 && ranks[j]>>rankBits == ranks[j-1]>>rankBits && b.nearer(ranks[j], ranks[j-1], target); j-- {
			ranks[j], ranks[j-1] = ranks[j-1], ranks[j]
		}
	}
	return n
}

// nearer compares two ranks by the whole distance.
func (b *bucket[A]) nearer(r, s uint64, target *Key) bool {
	return target.CompareDistance(b.contacts.entries[r%rankable].Key, b.contacts.entries[s%rankable].Key) < 0
}

// appendNearestWide is appendNearest of a bucket of any size: it inserts each
// contact into dst itself.
func (b *bucket[A]) appendNearestWide(dst []Contact[A], target *Key, n int) []Contact[A] {
	start := len(dst)
	for i := range b.contacts.entries {
		e := &b.contacts.entries[i]
		if e.isMarked() {
			continue
		}
		if len(dst)-start < n {
			dst = append(dst, e.Contact)
		} else if target.CompareDistance(e.Key, dst[len(dst)-1].Key) > 0 {
			continue
		}
		j := len(dst) - 1
		for ; j > start && target.CompareDistance(e.Key, dst[j-1].Key) < 0; j-- {
			dst[j] = dst[j-1]
		}
		dst[j] = e.Contact
	}
	return dst
}
