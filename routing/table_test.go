package routing

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

// subnets are groups for tests: the address is the subnet, at most one of a
// bucket and two of the table.
func subnets(c Contact[string]) []Group {
	if c.Addr == "" {
		return nil
	}
	return []Group{{Name: c.Addr, PerBucket: 1, PerTable: 2}}
}

func in(subnet string, head byte) Contact[string] { return Contact[string]{key(head), subnet} }

func TestOwnKeyIsNoContact(t *testing.T) {
	table := NewTable(key(7), TableOptions[string]{})
	probe, ok := table.Seen(contact(7), start)
	wantNone(t, "to be pinged", probe, ok)
	if table.Len() != 0 || table.Contains(key(7)) {
		t.Error("a node is in its own table")
	}
	promoted, ok := table.Failed(key(7), start)
	wantNone(t, "promoted", promoted, ok)
	if table.Remove(key(7)) {
		t.Error("the own key was removed")
	}
}

func TestOnePeerOneEntry(t *testing.T) {
	table := NewTable(key(0), TableOptions[string]{})
	table.Seen(in("old", 1), start)
	table.Seen(in("new", 1), start)
	if got := slices.Collect(table.All()); len(got) != 1 || got[0].Addr != "new" {
		t.Errorf("contacts %v, want one, at its new address", got)
	}
}

func TestUnknownKeysChangeNothing(t *testing.T) {
	table := full()
	promoted, ok := table.Failed(key(0x99), start)
	wantNone(t, "promoted", promoted, ok)
	if table.Remove(key(0x99)) || table.Len() != 6 {
		t.Error("somebody unknown was removed")
	}
}

func TestRemovePromotes(t *testing.T) {
	table := full()
	table.Seen(contact(0x90), minutes(4))
	if !table.Remove(key(0x82)) {
		t.Error("82 was no contact")
	}
	wantHeads(t, "bucket", bucketsOf(table)[0].Contacts, 0x81, 0x83, 0x90)
	if table.Remove(key(0x82)) {
		t.Error("82 was a contact twice")
	}
	table.Remove(key(0x81))
	wantHeads(t, "bucket with nobody waiting", bucketsOf(table)[0].Contacts, 0x83, 0x90)
}

// Who left, or failed, while waiting is not promoted later.
func TestGoneFromTheReplacements(t *testing.T) {
	table := full()
	for _, h := range []byte{0x90, 0x91, 0x92} {
		table.Seen(contact(h), minutes(4))
	}
	if table.Remove(key(0x92)) {
		t.Error("one who waits is called a contact")
	}
	table.Failed(key(0x91), minutes(5))
	promoted, ok := table.Failed(key(0x81), minutes(5))
	wantOne(t, "promoted", promoted, ok, 0x90)
}

func TestReplacementsAreBounded(t *testing.T) {
	for replacements, want := range map[int]int{-1: 0, 0: 3, 5: 5} {
		table := NewTable(key(0), TableOptions[string]{K: 3, Replacements: replacements})
		for h := byte(1); h <= 3; h++ {
			table.Seen(contact(0x40+h), start)
		}
		for h := byte(0x80); h < 0xc0; h++ {
			table.Seen(contact(h), start)
		}
		if n := bucketsOf(table)[0].Replacements; n != want {
			t.Errorf("Replacements %d: %d wait, want %d", replacements, n, want)
		}
	}
}

func TestProbeAfterNegativeNeverAsks(t *testing.T) {
	table := NewTable(key(0), TableOptions[string]{K: 1, ProbeAfter: -1})
	table.Seen(contact(0x40), start)
	table.Seen(contact(0x80), start)
	probe, ok := table.Seen(contact(0x81), minutes(1000))
	wantNone(t, "to be pinged", probe, ok)
}

func TestGroupsPerBucket(t *testing.T) {
	table := NewTable(key(0), TableOptions[string]{Groups: subnets})
	table.Seen(in("a", 1), start)
	table.Seen(in("a", 2), start)
	table.Seen(in("b", 3), start)
	wantHeads(t, "bucket", bucketsOf(table)[0].Contacts, 1, 3)
	promoted, ok := table.Failed(key(3), start)
	wantNone(t, "promoted for b", promoted, ok)
	promoted, ok = table.Failed(key(1), start)
	wantOne(t, "promoted for a", promoted, ok, 2)
}

func TestGroupsPerTable(t *testing.T) {
	table := NewTable(key(0), TableOptions[string]{K: 2, Groups: subnets})
	for _, h := range []byte{0x80, 0x40, 0x20} { // three buckets, once there are others
		table.Seen(contact(h+1), start)
		table.Seen(contact(h+2), start)
	}
	for _, h := range []byte{0x80, 0x40, 0x20} {
		table.Remove(key(h + 1))
		table.Seen(in("a", h), start)
	}
	if !table.Contains(key(0x80)) || !table.Contains(key(0x40)) || table.Contains(key(0x20)) {
		t.Error("want the first two of subnet a and not the third")
	}
	table.Remove(key(0x80))
	table.Seen(in("a", 0x20), start)
	if !table.Contains(key(0x20)) {
		t.Error("no room for a third after the first has left")
	}
}

// Contacts that enter from several groups and move to one stay only as far as its limits allow. One
// that is dropped makes room, and a replacement is promoted only if its own group admits it.
func TestRegroup(t *testing.T) {
	table := NewTable(key(0), TableOptions[string]{K: 3, Groups: subnets})
	for h, subnet := range []string{"", "a", "b", "c"} {
		if h > 0 {
			table.Seen(in(subnet, byte(0x80+h)), start)
		}
	}
	if !table.Regroup(in("a", 0x81)) {
		t.Error("a contact that stays in its group is dropped")
	}
	if !table.Regroup(in("d", 0x82)) || table.Regroup(in("a", 0x83)) || table.Contains(key(0x83)) {
		t.Error("one moved to a new group and stays; one moved to a group that is full and goes")
	}
	if table.Regroup(in("a", 0x99)) || table.Len() != 2 {
		t.Error("a stranger is no contact")
	}
	table.Seen(in("b", 0x84), start) // free again
	table.Seen(in("d", 0x85), start) // waits
	if !table.Contains(key(0x84)) || table.Contains(key(0x85)) {
		t.Fatal("the room is not as its groups have it")
	}
	table.Regroup(in("a", 0x85)) // while it waits
	promoted, ok := table.Failed(key(0x82), start)
	wantNone(t, "promoted from a group that is full", promoted, ok)
	table.Seen(in("a", 0x85), start)
	promoted, ok = table.Failed(key(0x81), start)
	wantOne(t, "promoted", promoted, ok, 0x85)
}

// A marked contact makes room for one of the same group, though the bucket has room
// for others.
func TestGroupsReplaceTheirMarked(t *testing.T) {
	table := NewTable(key(0), TableOptions[string]{Groups: subnets})
	table.Seen(in("a", 1), start)
	table.Seen(in("b", 2), start)
	table.Failed(key(1), start)
	table.Failed(key(2), start)
	table.Seen(in("b", 3), start)
	wantHeads(t, "bucket", bucketsOf(table)[0].Contacts, 1, 3)
}

// One subnet cannot fill the replacement cache, nor cause useless pings.
func TestGroupsInReplacements(t *testing.T) {
	table := NewTable(key(0), TableOptions[string]{K: 2, Groups: subnets})
	table.Seen(contact(0x41), start)
	table.Seen(contact(0x42), start)
	table.Seen(in("a", 0x81), start)
	table.Seen(in("b", 0x82), start)
	for h := byte(0x90); h < 0xa0; h++ {
		table.Seen(in("b", h), start)
	}
	if n := bucketsOf(table)[0].Replacements; n != 1 {
		t.Errorf("%d of one subnet wait, want 1", n)
	}
	probe, ok := table.Seen(in("b", 0xa0), minutes(20))
	wantNone(t, "to be pinged for one whom its group keeps out", probe, ok)
	probe, ok = table.Seen(in("c", 0xa1), minutes(20))
	wantOne(t, "to be pinged", probe, ok, 0x81)
}

// A group that a callback names twice counts once.
func TestGroupsNamedTwice(t *testing.T) {
	table := NewTable(key(0), TableOptions[string]{Groups: func(Contact[string]) []Group {
		return []Group{{Name: "a", PerTable: 2}, {Name: "a", PerTable: 2}}
	}})
	for h := byte(1); h <= 3; h++ {
		table.Seen(contact(h), start)
	}
	wantHeads(t, "contacts", bucketsOf(table)[0].Contacts, 1, 2)
	table.Remove(key(1))
	table.Remove(key(2))
	table.Remove(key(3)) // promoted in between
	if len(table.groups) != 0 {
		t.Errorf("groups %v counted in an empty table", table.groups)
	}
}

// Iterations stop when their body does.
func TestIterationsStop(t *testing.T) {
	table := full()
	table.Failed(key(0x81), start)
	table.Failed(key(0x82), start)
	for range table.All() {
		break
	}
	for range table.Nearest(key(0)) {
		break
	}
	for range table.Buckets() {
		break
	}
	for range table.Stale(start, rand.NewPCG(1, 1)) {
		break
	}
	n := 0
	for range table.Suspects(minutes(10)) {
		n++
		break
	}
	for range table.Suspects(minutes(10)) { // the first one waits again; the second was not reached
		n++
	}
	if n != 2 {
		t.Errorf("%d suspects, want 2", n)
	}
}

// A bucket's refresh may insert, fail and remove contacts as it goes.
func TestChangesDuringSuspects(t *testing.T) {
	table := full()
	for c := range table.All() {
		table.Failed(c.Key, start)
	}
	pinged := map[byte]bool{}
	for now := minutes(1); len(pinged) < 6; now = now.Add(time.Hour) {
		for c := range table.Suspects(now) {
			if pinged[c.Key[0]] = true; c.Key[0]&1 == 1 {
				table.Seen(c, now)
			} else {
				table.Remove(c.Key)
			}
		}
	}
	if table.Len() != 4 {
		t.Errorf("%d contacts, want 4", table.Len())
	}
}

func TestStaleKeysLieInTheirOwnRange(t *testing.T) {
	src := rand.NewPCG(3, 3)
	table, _ := mature(2_000)
	var depths []int
	for range 20 {
		depths = depths[:0]
		for k := range table.Stale(start, src) {
			depths = append(depths, min(table.Self().CommonPrefixLen(k), len(table.buckets)-1))
			table.Looked(k, start.Add(-time.Hour))
		}
		for i, d := range depths {
			if d != i {
				t.Fatalf("refresh of bucket %d looks up a key of bucket %d", i, d)
			}
		}
	}
	if len(depths) != len(table.buckets) {
		t.Errorf("%d of %d buckets stale", len(depths), len(table.buckets))
	}
}

// A node that joins looks up each range up to its nearest neighbour's.
func TestRanges(t *testing.T) {
	src := rand.NewPCG(4, 4)
	self := KeyOf("self")
	for _, cpl := range []int{0, 3, KeyBits - 1} {
		n := 0
		for k := range Ranges(self, self.flip(cpl), src) {
			if self.CommonPrefixLen(k) != n {
				t.Errorf("range %d: a key that shares %d bits", n, self.CommonPrefixLen(k))
			}
			n++
		}
		if n != cpl+1 {
			t.Errorf("%d ranges up to a neighbour that shares %d bits, want %d", n, cpl, cpl+1)
		}
	}
	for range Ranges(self, self, src) {
		break
	}
}

// A split leaves both halves as fresh as the whole was.
func TestSplitKeepsLooked(t *testing.T) {
	table := NewTable(key(0), TableOptions[string]{K: 1})
	table.Looked(key(0), minutes(1))
	table.Seen(contact(0x40), start)
	table.Seen(contact(0x80), start)
	for _, b := range bucketsOf(table) {
		if b.Looked != minutes(1) {
			t.Errorf("bucket %d looked up at %v, want %v", b.Depth, b.Looked, minutes(1))
		}
	}
}

// Keys that differ only in their last bits split the table to its full depth.
func TestSplitToTheEnd(t *testing.T) {
	self := Key{}
	table := NewTable(self, TableOptions[string]{K: 1})
	for i := range KeyBits {
		table.Seen(Contact[string]{Key: self.flip(i)}, start)
	}
	if len(table.buckets) != KeyBits || table.Len() != KeyBits {
		t.Errorf("%d buckets, %d contacts, want %d of each", len(table.buckets), table.Len(), KeyBits)
	}
	// The deepest differ from the target in bits that no rank holds.
	near := table.AppendNearest(nil, self, 3)
	for i, c := range near {
		if c.Key != self.flip(KeyBits-1-i) {
			t.Errorf("nearest %d is %v", i, c.Key)
		}
	}
}

func TestNoAllocs(t *testing.T) {
	table, all := mature(10_000)
	known := slices.Collect(table.All())
	dst := make([]Contact[peerID], 0, 20)
	i := 0
	for what, f := range map[string]func(){
		"AppendNearest":    func() { dst = table.AppendNearest(dst[:0], all[i].Key, 20) },
		"Seen, known":      func() { table.Seen(known[i%len(known)], start) },
		"Seen, full":       func() { table.Seen(all[i], start) },
		"Contains":         func() { table.Contains(all[i].Key) },
		"Closer":           func() { table.Closer(all[i].Key) },
		"Complete":         func() { table.Complete() },
		"KeyOf a string":   func() { KeyOf("hello") },
		"Key.AppendText":   func() { _, _ = all[i].Key.AppendText(make([]byte, 0, 64)) },
		"Distance and Cmp": func() { all[i].Key.CompareDistance(all[0].Key, all[1].Key) },
	} {
		if n := testing.AllocsPerRun(1000, func() { f(); i++ }); n != 0 {
			t.Errorf("%s: %v allocations, want none", what, n)
		}
		i = 0
	}
}

// Any option, and any count asked for, may be as large as an int is; dst keeps what
// it holds.
func TestTableOfHugeCounts(t *testing.T) {
	for _, o := range []TableOptions[string]{{}, {K: math.MaxInt}, {K: math.MaxInt, Replacements: math.MaxInt}} {
		table := NewTable(key(0), o)
		for h := range byte(200) {
			table.Seen(contact(h+1), start)
		}
		for _, n := range []int{math.MinInt, -1, 0, 1, 7, math.MaxInt} {
			want := min(max(n, 0), table.Len())
			got := table.AppendNearest([]Contact[string]{contact(0xaa), contact(0xbb)}, key(1), n)
			if len(got) != want+2 || got[0] != contact(0xaa) || got[1] != contact(0xbb) {
				t.Errorf("K %d: %d after 2 others, want %d more", o.K, len(got), want)
			}
		}
		if got := len(slices.Collect(table.Nearest(key(1)))); got != table.Len() {
			t.Errorf("K %d: %d nearest of %d", o.K, got, table.Len())
		}
		table.Failed(key(1), start)
		table.Complete()
		table.AppendHolders(nil, key(1))
	}
}

// Goroutines that only read need no lock among themselves, even of a table to which
// nothing was ever told. (The race detector is the judge.)
func TestReadersAreReaders(t *testing.T) {
	table := NewTable(key(0), TableOptions[string]{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for range table.Silent(start) {
			}
			for range table.Nearest(key(1)) {
			}
			for range table.All() {
			}
			for range table.Buckets() {
			}
			table.AppendNearest(nil, key(1), 3)
			table.AppendHolders(nil, key(1))
			_, _, _, _ = table.Len(), table.Complete(), table.Closer(key(1)), table.Contains(key(1))
			table.Marked(key(1))
		})
	}
	wg.Wait()
	table.Seen(contact(1), start)
	if got := slices.Collect(table.Silent(start.Add(1))); len(got) != 1 {
		t.Errorf("silent: %v, want one", got)
	}
}

// Failed takes a key out of the replacement cache. The promoted key is sorted by the
// time it was last seen.
func TestFailedAndTheReplacementCache(t *testing.T) {
	table := full() // 81 to 83 seen at minutes 0 to 2 or so
	table.Seen(contact(0x90), minutes(4))
	table.Seen(contact(0x91), minutes(5))
	promoted, ok := table.Failed(key(0x91), minutes(6))
	wantNone(t, "promoted", promoted, ok)
	table.Seen(contact(0x82), minutes(7))
	promoted, ok = table.Failed(key(0x81), minutes(8))
	wantOne(t, "promoted", promoted, ok, 0x90)
	wantHeads(t, "bucket", bucketsOf(table)[0].Contacts, 0x83, 0x90, 0x82)
}
