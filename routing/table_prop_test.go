package routing

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// model is a simple copy of the calls made to a table: which contacts were reported,
// when and how, and which joined and left according to the table.
type model struct {
	table   *Table[string]
	k       int
	now     time.Time
	member  map[Key]bool // by Joined and Left
	marked  map[Key]bool
	addr    map[Key]string
	seen    map[Key]time.Time
	failed  bool // some request ever failed, or a contact was removed
	grouped bool
}

func (m *model) live() (keys []Key) {
	for k := range m.member {
		if !m.marked[k] {
			keys = append(keys, k)
		}
	}
	return keys
}

// check holds the table against the model.
func (m *model) check(t *rapid.T, target Key) {
	tb, self := m.table, m.table.Self()
	if tb.Len() != len(m.member) {
		t.Fatalf("%d contacts, want %d", tb.Len(), len(m.member))
	}
	perTable := map[string]int{}
	count := 0
	buckets := bucketsOf(tb)
	for i, b := range buckets {
		last := i == len(buckets)-1
		if b.Depth != i || b.Last != last {
			t.Fatalf("bucket %d calls itself %d, last %v", i, b.Depth, b.Last)
		}
		limit := subtreeSlack * m.k
		if last {
			limit = m.k
		}
		if len(b.Contacts) > limit || b.Replacements > m.k {
			t.Fatalf("bucket %d: %d contacts, %d waiting", i, len(b.Contacts), b.Replacements)
		}
		perBucket := map[string]int{}
		marked := 0
		for j, c := range b.Contacts {
			count++
			if cpl := self.CommonPrefixLen(c.Key); cpl != i && (!last || cpl < i) || c.Key == self {
				t.Fatalf("%v is in bucket %d", c.Key, i)
			}
			if !m.member[c.Key] || !tb.Contains(c.Key) || c.Addr != m.addr[c.Key] {
				t.Fatalf("%v at %q is no contact, or elsewhere", c.Key, c.Addr)
			}
			if j > 0 && m.seen[b.Contacts[j-1].Key].After(m.seen[c.Key]) {
				t.Fatalf("bucket %d is not in the order last seen", i)
			}
			if m.marked[c.Key] {
				marked++
			}
			perBucket[c.Addr]++
			perTable[c.Addr]++
		}
		if b.Marked != marked {
			t.Fatalf("bucket %d has %d marked, want %d", i, b.Marked, marked)
		}
		for g, n := range perBucket {
			if m.grouped && g != "" && n > 1 {
				t.Fatalf("bucket %d has %d of group %q", i, n, g)
			}
		}
	}
	for g, n := range perTable {
		if m.grouped && g != "" && (n > 2 || tb.groups[g] != n) {
			t.Fatalf("%d of group %q, %d counted", n, g, tb.groups[g])
		}
	}
	if count != len(m.member) {
		t.Fatalf("%d contacts in the buckets, want %d: somebody is there twice", count, len(m.member))
	}
	m.checkNearest(t, target)
	m.checkComplete(t)
}

// checkNearest holds what the table knows of a target against sorting all.
func (m *model) checkNearest(t *rapid.T, target Key) {
	tb := m.table
	want := m.live()
	slices.SortFunc(want, target.CompareDistance)
	closer := 0
	for _, k := range want {
		if target.CompareDistance(k, tb.Self()) < 0 {
			closer++
		}
	}
	if got := tb.Closer(target); got != closer {
		t.Fatalf("%d nearer than we, want %d", got, closer)
	}
	var all []Key
	for c := range tb.Nearest(target) {
		all = append(all, c.Key)
	}
	if !slices.Equal(all, want) {
		t.Fatalf("nearest to %v: %v, want %v", target, all, want)
	}
	for _, n := range []int{-1, 0, 1, m.k, 2 * m.k} {
		got := tb.AppendNearest([]Contact[string]{{Addr: "kept"}}, target, n)
		if got[0].Addr != "kept" || len(got)-1 != min(max(n, 0), len(want)) {
			t.Fatalf("AppendNearest %d appended %d of %d", n, len(got)-1, len(want))
		}
		for i, c := range got[1:] {
			if c.Key != want[i] || c.Addr != m.addr[c.Key] {
				t.Fatalf("nearest %d of %d: %v, want %v", i, n, c.Key, want[i])
			}
		}
	}
}

func (m *model) checkComplete(t *rapid.T) {
	self, depth := m.table.Self(), m.table.Complete()
	last := len(bucketsOf(m.table)) - 1
	within := func(d int) (n int) {
		for _, k := range m.live() {
			if self.CommonPrefixLen(k) >= d {
				n++
			}
		}
		return n
	}
	if depth > last || depth > 0 && within(depth) < m.k || depth < last && within(depth+1) >= m.k {
		t.Fatalf("complete to depth %d with %d within it, %d within the next", depth, within(depth), within(depth+1))
	}
	before := m.now.Add(-5 * time.Minute)
	silent := map[Key]bool{}
	for c := range m.table.Silent(before) {
		if silent[c.Key] || m.marked[c.Key] || self.CommonPrefixLen(c.Key) < depth || !m.seen[c.Key].Before(before) {
			t.Fatalf("%v, seen at %v, is called silent", c.Key, m.seen[c.Key])
		}
		silent[c.Key] = true
	}
	for _, k := range m.live() {
		if self.CommonPrefixLen(k) >= depth && m.seen[k].Before(before) && !silent[k] {
			t.Fatalf("%v, last seen at %v, is not called silent", k, m.seen[k])
		}
	}
	if m.failed || m.grouped {
		return
	}
	// As long as no contact was lost, contacts were refused only beyond 3k.
	n := 0
	for k := range m.seen {
		if self.CommonPrefixLen(k) == depth {
			n++
		}
	}
	for k := range m.seen {
		if cpl := self.CommonPrefixLen(k); cpl > depth && !m.member[k] || cpl == depth && n <= subtreeSlack*m.k && !m.member[k] {
			t.Fatalf("%v, of the complete subtree at depth %d, is missing", k, depth)
		}
	}
}

// TestTableAgainstModel does anything in any order, and checks everything
// after each step.
func TestTableAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := rapid.SampledFrom([]int{1, 2, 3, 5, 30}).Draw(t, "k") // 3·30 is more than rank orders
		m := &model{
			k: k, now: start, member: map[Key]bool{}, marked: map[Key]bool{}, addr: map[Key]string{}, seen: map[Key]time.Time{},
			grouped: rapid.Bool().Draw(t, "grouped"),
		}
		o := TableOptions[string]{
			K: k,
			Joined: func(c Contact[string]) {
				if m.member[c.Key] {
					t.Fatalf("%v joined twice", c.Key)
				}
				m.member[c.Key] = true
			},
			Left: func(c Contact[string]) {
				if !m.member[c.Key] {
					t.Fatalf("%v left and was not there", c.Key)
				}
				delete(m.member, c.Key)
				delete(m.marked, c.Key)
			},
		}
		if m.grouped {
			o.Groups = subnets
		}
		self := Key{0x35}
		m.table = NewTable(self, o)
		// Few keys, at all distances: most meetings are with old acquaintances.
		keys := rapid.Custom(func(t *rapid.T) Key {
			depth := rapid.IntRange(0, 9).Draw(t, "depth")
			return Key{31: rapid.Byte().Draw(t, "low") & 63}.xor(self.flip(depth))
		})
		t.Repeat(map[string]func(*rapid.T){
			"seen": func(t *rapid.T) {
				c := Contact[string]{Key: keys.Draw(t, "key")}
				if m.grouped {
					c.Addr = rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, "subnet")
				} else {
					c.Addr = rapid.SampledFrom([]string{"x", "y"}).Draw(t, "address")
				}
				m.meet(t, c)
			},
			"crowd": func(t *rapid.T) { // fills a range
				depth := rapid.IntRange(0, 9).Draw(t, "depth")
				for i := range byte(rapid.IntRange(1, 100).Draw(t, "size")) {
					m.meet(t, Contact[string]{Key: Key{31: i}.xor(self.flip(depth))})
				}
			},
			"failed":         func(t *rapid.T) { m.fail(t, m.someone(t)) },
			"anybody failed": func(t *rapid.T) { m.fail(t, keys.Draw(t, "key")) },
			"removed": func(t *rapid.T) {
				key := cmp.Or(m.someone(t), keys.Draw(t, "key"))
				was := m.member[key]
				m.failed = true
				if m.table.Remove(key) != was || m.member[key] {
					t.Fatalf("Remove(%v) of a contact %v", key, was)
				}
			},
			"regrouped": func(t *rapid.T) { // its address has changed
				if !m.grouped {
					t.Skip()
				}
				c := Contact[string]{Key: cmp.Or(m.someone(t), keys.Draw(t, "key")), Addr: rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, "subnet")}
				was := m.member[c.Key]
				m.addr[c.Key] = c.Addr
				stays := m.table.Regroup(c)
				if stays != m.member[c.Key] || stays && !was {
					t.Fatalf("Regroup of a contact (%v) says that it stays: %v; a contact: %v", was, stays, m.member[c.Key])
				}
				m.failed = m.failed || !stays
			},
			"later": func(t *rapid.T) {
				m.now = m.now.Add(time.Duration(rapid.IntRange(1, 1000).Draw(t, "seconds")) * time.Second)
				for c := range m.table.Suspects(m.now) {
					if !m.marked[c.Key] {
						t.Fatalf("%v is suspected of nothing", c.Key)
					}
				}
			},
			"": func(t *rapid.T) { m.check(t, keys.Draw(t, "target")) },
		})
	})
}

// someone draws one of the contacts, the zero Key if there is none.
func (m *model) someone(t *rapid.T) Key {
	var all []Key
	for c := range m.table.All() {
		all = append(all, c.Key)
	}
	if len(all) == 0 {
		return Key{}
	}
	return rapid.SampledFrom(all).Draw(t, "member")
}

func (m *model) meet(t *rapid.T, c Contact[string]) {
	m.now = m.now.Add(time.Millisecond)
	was, addr := m.member[c.Key], m.addr[c.Key]
	size, hadMarked := len(m.member), m.table.buckets[m.table.index(c.Key)].marked > 0
	m.seen[c.Key] = m.now
	if !m.grouped || !was { // the group follows from the address that a contact came with
		m.addr[c.Key] = c.Addr
	} else {
		c.Addr = addr
	}
	probe, ok := m.table.Seen(c, m.now)
	delete(m.marked, c.Key)
	if c.Key == m.table.Self() {
		delete(m.seen, c.Key)
	}
	if ok && (was || m.member[c.Key] || !m.member[probe.Key] || m.marked[probe.Key] || m.now.Sub(m.seen[probe.Key]) < DefaultProbeAfter) {
		t.Fatalf("%v was seen and %v is to be pinged", c.Key, probe.Key)
	}
	if was && (len(m.member) != size || !m.member[c.Key]) {
		t.Fatalf("a known contact was seen and the table changed")
	}
	if !m.grouped && !m.member[c.Key] {
		i := m.table.index(c.Key)
		b := bucketsOf(m.table)[i]
		if len(b.Contacts) < m.k || hadMarked || b.Last {
			t.Fatalf("%v was turned away from bucket %d with %d contacts, marked ones %v", c.Key, i, len(b.Contacts), hadMarked)
		}
	}
}

func (m *model) fail(t *rapid.T, key Key) {
	m.failed = true
	was, before := m.member[key], len(m.member)
	promoted, ok := m.table.Failed(key, m.now)
	switch {
	case ok && (!was || m.member[key] || !m.member[promoted.Key]):
		t.Fatalf("%v failed, %v was promoted", key, promoted.Key)
	case !ok && !was && len(m.member) != before:
		t.Fatalf("%v failed, no contact, and the table changed", key)
	case m.member[key]:
		m.marked[key] = true
	}
}

func (k Key) xor(o Key) Key {
	for i := range k {
		k[i] ^= o[i]
	}
	return k
}
