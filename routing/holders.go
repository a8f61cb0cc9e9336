package routing

import "sort"

// These methods tell a node which other nodes should hold its values (Kademlia
// §2.5). They count the contacts that are not marked, and the own key, which counts among the k nearest like any other: only a node
// that others may store at, a server, should ask.

// AppendHolders appends to dst the contacts that are to hold key beside self:
// the k nearest to it of self and the live contacts, nearest first, self left
// out. rank is how many of them are nearer than self, 0 if self is the nearest,
// and -1 if self is not among the k. It allocates nothing if dst has room for k.
func (t *Table[A]) AppendHolders(dst []Contact[A], key Key) (holders []Contact[A], rank int) {
	start := len(dst)
	dst = t.AppendNearest(dst, key, t.o.K)
	near := dst[start:]
	rank = sort.Search(len(near), func(i int) bool { return key.CompareDistance(t.self, near[i].Key) < 0 })
	switch {
	case rank == t.o.K:
		return dst, -1
	case len(near) == t.o.K: // self takes the place of the last
		return dst[:len(dst)-1], rank
	}
	return dst, rank
}

// Covers reports whether the k nearest of key are all contacts, or self, so that no
// lookup is needed: key lies in the complete subtree, which holds more
// than k nodes, so no node outside it is as near. The result is reliable while
// the subtree is complete, that is, shortly after a lookup of the own key (Kademlia
// §2.5). With fewer than k live contacts nothing is covered: the network may be
// as small as that, or we may know too little of it.
func (t *Table[A]) Covers(key Key) bool {
	depth := t.Complete()
	if depth == 0 && t.deeper(-1) < t.o.K {
		return false
	}
	return t.self.CommonPrefixLen(key) >= depth
}

// Heir reports whether newcomer, in the table or not, is among the k nearest of
// key among the known nodes; then one of the holders of key should hand it over. rank
// says which: it is the number of live contacts, without newcomer, that are nearer to
// key than self. The paper gives the task to rank 0 (Kademlia §2.5), but that node may
// never have received the value, and nearer contacts may be dead: see Silent.
func (t *Table[A]) Heir(key, newcomer Key) (rank int, ok bool) {
	if newcomer == t.self {
		return 0, false
	}
	selfNearer := key.CompareDistance(t.self, newcomer) < 0
	nearer := 0 // than newcomer, of all but newcomer
	if selfNearer {
		nearer++
	}
	home := t.index(newcomer)
	w := t.walk(key)
	for i := w.next(); nearer < t.o.K; i = w.next() {
		if i == home {
			nearer += t.bucket(i).nearerThan(&key, &newcomer)
			break
		}
		nearer += t.bucket(i).live()
	}
	if nearer >= t.o.K {
		return 0, false
	}
	rank = t.Closer(key)
	if !selfNearer && t.Contains(newcomer) && !t.Marked(newcomer) {
		rank--
	}
	return rank, true
}

// nearerThan counts the live contacts that are nearer to key than limit is.
func (b *bucket[A]) nearerThan(key, limit *Key) (n int) {
	for i := range b.contacts.entries {
		e := &b.contacts.entries[i]
		if !e.isMarked() && key.CompareDistance(e.Key, *limit) < 0 {
			n++
		}
	}
	return n
}
