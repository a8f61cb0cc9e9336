package routing

// limit returns how many contacts bucket i may hold: k, and more while it is
// part of the complete subtree, where nobody is turned away (end of Kademlia
// §2.4). A bucket is part of it while those deeper have not k contacts alive.
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
