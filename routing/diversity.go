package routing

// Group is something contacts have in common and of which a table should not
// hold too many: a subnet, an autonomous system, an operator. It is what keeps
// one machine with many keys from filling a bucket.
type Group struct {
	// Name tells groups apart. It must be comparable: a netip.Prefix, a string.
	Name any
	// PerBucket and PerTable are how many contacts of the group one bucket and
	// the whole table may hold. Zero means no limit.
	PerBucket, PerTable int
}

// fits reports whether a contact of these groups may enter b once gone, which
// may be nil, has left it.
func (t *Table[A]) fits(b *bucket[A], groups []Group, gone *entry[A]) bool {
	for _, g := range groups {
		spared := 0
		if gone != nil && gone.in(g.Name) {
			spared = 1
		}
		if g.PerTable > 0 && t.groups[g.Name]-spared >= g.PerTable {
			return false
		}
		if g.PerBucket > 0 && b.contacts.count(g.Name)-spared >= g.PerBucket {
			return false
		}
	}
	return true
}

// tally adds by to the table's count of each of e's groups.
func (t *Table[A]) tally(e *entry[A], by int) {
	for i, g := range e.groups {
		if e.named(g.Name) < i {
			continue // named twice, counted once
		}
		if t.groups[g.Name] += by; t.groups[g.Name] == 0 {
			delete(t.groups, g.Name)
		}
	}
}

func (e *entry[A]) in(name any) bool { return e.named(name) >= 0 }

// named returns the index of the first of e's groups of that name, or -1.
func (e *entry[A]) named(name any) int {
	for i, g := range e.groups {
		if g.Name == name {
			return i
		}
	}
	return -1
}

// count returns how many entries are of the group.
func (l *list[A]) count(name any) (n int) {
	for i := range l.entries {
		if l.entries[i].in(name) {
			n++
		}
	}
	return n
}

// firstOf returns where the group's least recently seen stands, or -1.
func (l *list[A]) firstOf(name any) int {
	for i := range l.entries {
		if l.entries[i].in(name) {
			return i
		}
	}
	return -1
}
