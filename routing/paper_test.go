package routing

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// Each test here is one rule of Maymounkov and Mazières, "Kademlia: A
// Peer-to-peer Information System Based on the XOR Metric" (IPTPS 2002), named
// by the section that states it; the quotations are shortened here and there.

// key returns the key whose first byte is head and whose others are 0.
func key(head byte) Key { return Key{head} }

func contact(head byte) Contact[string] { return Contact[string]{Key: key(head)} }

func minutes(n int) time.Time { return start.Add(time.Duration(n) * time.Minute) }

// heads returns the first bytes of contacts' keys, which is how these tests
// tell them apart.
func heads(cs []Contact[string]) (h []byte) {
	for _, c := range cs {
		h = append(h, c.Key[0])
	}
	return h
}

func bucketsOf[A any](t *Table[A]) []Bucket[A] { return slices.Collect(t.Buckets()) }

func wantHeads(t *testing.T, what string, got []Contact[string], want ...byte) {
	t.Helper()
	if !slices.Equal(heads(got), want) {
		t.Errorf("%s: %x, want %x", what, heads(got), want)
	}
}

func wantNone(t *testing.T, what string, c Contact[string], ok bool) {
	t.Helper()
	if ok {
		t.Errorf("%s: %x, want none", what, c.Key[0])
	}
}

func wantOne(t *testing.T, what string, c Contact[string], ok bool, want byte) {
	t.Helper()
	if !ok || c.Key[0] != want {
		t.Errorf("%s: %x, %v, want %x", what, c.Key[0], ok, want)
	}
}

// "Kademlia then defines the distance between two identifiers as their bitwise
// exclusive or (XOR) interpreted as an integer."
func TestPaper2_1_Distance(t *testing.T) {
	if d := key(0b0101).Distance(key(0b0110)); d != (Distance{0b0011 << 56}) {
		t.Errorf("distance %x, want 0011 in the first byte", d)
	}
	if key(1).CompareDistance(key(3), key(0)) != 1 {
		t.Error("1 xor 3 is not more than 1 xor 0")
	}
}

// "For any given point x and distance Δ > 0, there is exactly one point y such
// that d(x, y) = Δ."
func TestPaper2_1_Unidirectional(t *testing.T) {
	seen := map[Distance]bool{}
	for i := range 256 {
		d := key(0x5a).Distance(key(byte(i)))
		if seen[d] {
			t.Fatalf("two keys at distance %x", d)
		}
		seen[d] = true
	}
}

// "For each 0 ≤ i < 160, every node keeps a list ... for nodes of distance
// between 2^i and 2^(i+1) from itself."
func TestPaper2_2_BucketsByDistance(t *testing.T) {
	table := NewTable(key(0), TableOptions[string]{K: 2})
	for _, h := range []byte{0x80, 0xff, 0x40, 0x7f, 0x20, 0x3f, 0x10} {
		table.Seen(contact(h), start)
	}
	b := bucketsOf(table)
	if len(b) != 4 || !b[3].Last || b[2].Last {
		t.Fatalf("%d buckets, want 4, the last of them the last", len(b))
	}
	wantHeads(t, "128 to 255", b[0].Contacts, 0x80, 0xff)
	wantHeads(t, "64 to 127", b[1].Contacts, 0x40, 0x7f)
	wantHeads(t, "32 to 63", b[2].Contacts, 0x20, 0x3f)
	wantHeads(t, "below 32", b[3].Contacts, 0x10)
}

// "Each k-bucket is kept sorted by time last seen—least-recently seen node at
// the head, most-recently seen at the tail. ... If the sending node already
// exists in the recipient's k-bucket, the recipient moves it to the tail."
func TestPaper2_2_LeastRecentlySeenFirst(t *testing.T) {
	table := NewTable(key(0), TableOptions[string]{})
	for i, h := range []byte{1, 2, 3} {
		table.Seen(contact(h), minutes(i))
	}
	wantHeads(t, "bucket", bucketsOf(table)[0].Contacts, 1, 2, 3)
	table.Seen(contact(1), minutes(3))
	wantHeads(t, "bucket after 1 was seen again", bucketsOf(table)[0].Contacts, 2, 3, 1)
}

// full returns a table whose bucket 0 is full of 0x81 to 0x83, seen at minutes
// 1 to 3, while its nearer buckets hold k more, so that 0 is not in the
// complete subtree.
func full() *Table[string] {
	table := NewTable(key(0), TableOptions[string]{K: 3})
	for h := byte(1); h <= 3; h++ {
		table.Seen(contact(0x80+h), minutes(int(h)))
		table.Seen(contact(0x40+h), minutes(int(h)))
	}
	return table
}

// "If the appropriate k-bucket is full, however, then the recipient pings the
// k-bucket's least-recently seen node to decide what to do. If the
// least-recently seen node fails to respond, it is evicted from the k-bucket
// and the new sender inserted at the tail."
func TestPaper2_2_FullBucketEvictsTheSilent(t *testing.T) {
	table := full()
	probe, ok := table.Seen(contact(0x90), minutes(20))
	wantOne(t, "to be pinged", probe, ok, 0x81)
	wantHeads(t, "bucket until the ping fails", bucketsOf(table)[0].Contacts, 0x81, 0x82, 0x83)

	promoted, ok := table.Failed(probe.Key, minutes(21))
	wantOne(t, "promoted", promoted, ok, 0x90)
	wantHeads(t, "bucket", bucketsOf(table)[0].Contacts, 0x82, 0x83, 0x90)
}

// "Otherwise, if the least-recently seen node responds, it is moved to the
// tail of the list, and the new sender's contact is discarded." Ours waits in
// the replacement cache (§4.1).
func TestPaper2_2_FullBucketKeepsTheLiving(t *testing.T) {
	table := full()
	probe, ok := table.Seen(contact(0x90), minutes(20))
	wantOne(t, "to be pinged", probe, ok, 0x81)
	table.Seen(probe, minutes(21))
	wantHeads(t, "bucket", bucketsOf(table)[0].Contacts, 0x82, 0x83, 0x81)
	if table.Contains(key(0x90)) {
		t.Error("the newcomer is a contact")
	}
}

// Our guard on §2.2: no ping while the oldest was heard of within ProbeAfter,
// and one ping for any number of newcomers.
func TestPaper2_2_NoPingStorm(t *testing.T) {
	table := full()
	probe, ok := table.Seen(contact(0x90), minutes(10)) // 9 after 0x81 was seen
	wantNone(t, "to be pinged of a fresh bucket", probe, ok)
	probe, ok = table.Seen(contact(0x91), minutes(11))
	wantOne(t, "to be pinged", probe, ok, 0x81)
	for h := byte(0x92); h < 0xb0; h++ {
		probe, ok = table.Seen(contact(h), minutes(11))
		wantNone(t, "to be pinged while the first ping is out", probe, ok)
	}
	probe, ok = table.Seen(contact(0xb0), minutes(12))
	wantOne(t, "to be pinged when nobody reported on the first", probe, ok, 0x81)
}

// "The recipient of a FIND_NODE RPC returns ⟨IP address, UDP port, Node ID⟩
// triples for the k nodes it knows about closest to the target ID. These
// triples can come from a single k-bucket, or they may come from multiple
// k-buckets ... the RPC recipient must return k items (unless there are fewer
// than k nodes in all its k-buckets combined)."
func TestPaper2_3_FindNode(t *testing.T) {
	table := full()
	wantHeads(t, "nearest 2, from one bucket", table.AppendNearest(nil, key(0x81), 2), 0x81, 0x83)
	wantHeads(t, "nearest 4, from two", table.AppendNearest(nil, key(0x82), 4), 0x82, 0x83, 0x81, 0x42)
	wantHeads(t, "nearest 20 of 6", table.AppendNearest(nil, key(0x41), 20), 0x41, 0x43, 0x42, 0x81, 0x83, 0x82)
}

// conversation is a lookup in one of these tests.
type conversation struct {
	*testing.T
	*Lookup[string]
	now time.Time
}

func talk(t *testing.T, target byte, seeds []byte, o LookupOptions[string]) *conversation {
	cs := make([]Contact[string], len(seeds))
	for i, h := range seeds {
		cs[i] = contact(h)
	}
	o.Self.Key = key(0xff)
	return &conversation{t, NewLookup(key(target), slices.Values(cs), o), start}
}

// asks checks that the lookup now asks just these.
func (c *conversation) asks(want ...byte) { c.T.Helper(); c.sends(false, want) }

// stores checks that the lookup now sends STORE to just these.
func (c *conversation) stores(want ...byte) { c.T.Helper(); c.sends(true, want) }

func (c *conversation) sends(store bool, want []byte) {
	c.T.Helper()
	var got []byte
	for q, ok := c.Next(c.now); ok; q, ok = c.Next(c.now) {
		got = append(got, q.Key[0])
		if q.Store != store {
			c.T.Errorf("to %x: STORE %v, want %v", q.Key[0], q.Store, store)
		}
	}
	if !slices.Equal(got, want) {
		c.T.Errorf("asks %x, want %x", got, want)
	}
}

// answers lets one answer and name others.
func (c *conversation) answers(head byte, closer ...byte) {
	var r Reply[string]
	for _, h := range closer {
		r.Closer = append(r.Closer, contact(h))
	}
	c.Answer(key(head), r)
}

func (c *conversation) fails(heads ...byte) {
	for _, h := range heads {
		c.Fail(key(h))
	}
}

func (c *conversation) isDone(want bool) {
	c.T.Helper()
	if got := c.Done(c.now); got != want {
		c.T.Errorf("done %v, want %v", got, want)
	}
}

func (c *conversation) closestAre(want ...byte) {
	c.T.Helper()
	wantHeads(c.T, "closest", slices.Collect(c.Closest()), want...)
}

// "The lookup initiator starts by picking α nodes ... The initiator then sends
// parallel, asynchronous FIND_NODE RPCs to the α nodes it has chosen."
func TestPaper2_3_LookupAlphaInParallel(t *testing.T) {
	c := talk(t, 0, []byte{9, 4, 7, 5, 8, 6}, LookupOptions[string]{Alpha: 3})
	c.asks(4, 5, 6)
	c.answers(5)
	c.asks(7)
	c.asks() // three are awaited
}

// "In the recursive step, the initiator resends the FIND_NODE to nodes it has
// learned about from previous RPCs."
func TestPaper2_3_LookupRecursiveStep(t *testing.T) {
	c := talk(t, 0, []byte{8}, LookupOptions[string]{})
	c.asks(8)
	c.answers(8, 4, 5)
	c.asks(4, 5)
	c.answers(4, 1, 8) // 8 was asked already
	c.asks(1)
}

// "Of the k nodes the initiator has heard of closest to the target, it picks α
// that it has not yet queried": those beyond the k nearest are not asked.
func TestPaper2_3_LookupOnlyTheKNearest(t *testing.T) {
	c := talk(t, 0, []byte{1, 2, 3}, LookupOptions[string]{K: 3})
	c.asks(1, 2, 3)
	c.answers(1, 4, 5)
	c.answers(2)
	c.asks()
	c.isDone(false)
	c.answers(3)
	c.isDone(true)
	c.closestAre(1, 2, 3)
}

// "Nodes that fail to respond quickly are removed from consideration until and
// unless they do respond."
func TestPaper2_3_LookupFailedAreReplaced(t *testing.T) {
	c := talk(t, 0, []byte{1, 2, 3}, LookupOptions[string]{K: 3, Timeout: func(Query[string]) time.Duration { return time.Second }})
	c.asks(1, 2, 3)
	c.answers(3, 4, 5)
	c.fails(1)
	c.asks(4) // in place of 1
	c.answers(4)
	c.now = c.now.Add(time.Second)
	c.asks(5) // in place of 2, which is overdue
	c.answers(5)
	c.answers(2) // and does respond
	c.isDone(true)
	c.closestAre(2, 3, 4)
}

// "The lookup terminates when the initiator has queried and gotten responses
// from the k closest nodes it has seen."
func TestPaper2_3_LookupTerminates(t *testing.T) {
	c := talk(t, 0, []byte{4, 5}, LookupOptions[string]{K: 2})
	c.asks(4, 5)
	c.answers(4, 2)
	c.answers(5, 3)
	c.isDone(false) // 2 and 3 are nearer
	c.asks(2, 3)
	c.answers(2)
	c.isDone(false)
	c.answers(3)
	c.isDone(true)
	c.closestAre(2, 3)
}

// "To store a ⟨key,value⟩ pair, a participant locates the k closest nodes to
// the key and sends them STORE RPCs."
func TestPaper2_3_StoreAtTheKNearest(t *testing.T) {
	c := talk(t, 0, []byte{4, 5, 6}, LookupOptions[string]{K: 3, Store: 1})
	c.asks(4)
	c.answers(4, 1, 2)
	c.asks(1)
	c.answers(1)
	c.stores(1, 2, 4)
	c.answers(1)
	c.answers(4)
	c.isDone(false)
	c.answers(2)
	c.isDone(true)
	c.closestAre(1, 2, 4)
}

// "To find a ⟨key,value⟩ pair, a node starts by performing a lookup to find
// the k nodes with IDs closest to the key. However, value lookups use
// FIND_VALUE rather than FIND_NODE RPCs. Moreover, the procedure halts
// immediately when any node returns the value. For caching purposes, once a
// lookup succeeds, the requesting node stores the ⟨key,value⟩ pair at the
// closest node it observed to the key that did not return the value."
func TestPaper2_3_FindValueHaltsAndCaches(t *testing.T) {
	c := talk(t, 0, []byte{4, 5, 6, 7}, LookupOptions[string]{Quorum: 1})
	c.asks(4, 5, 6)
	c.answers(6, 3)
	c.answers(5)
	c.asks(3, 7)
	c.isDone(false)
	c.Answer(key(4), Reply[string]{Value: true})
	c.isDone(true)
	c.asks()
	without, ok := c.Without()
	wantOne(t, "to be given a copy", without, ok, 5)
}

// "We make the expiration time of a ⟨key,value⟩ pair in any node's database
// exponentially inversely proportional to the number of nodes between the
// current node and the node whose ID is closest to the key ID": Closer counts
// them.
func TestPaper2_3_NodesBetween(t *testing.T) {
	table := full()
	for target, want := range map[byte]int{0: 0, 0x40: 3, 0x80: 3, 0xc0: 6} {
		if n := table.Closer(key(target)); n != want {
			t.Errorf("%d contacts nearer to %x than we, want %d", n, target, want)
		}
	}
}

// "Buckets are generally kept fresh by the traffic of requests traveling
// through nodes. To handle pathological cases in which there are no lookups
// for a particular ID range, each node
// refreshes any bucket to which it has not performed a node lookup in the past
// hour. Refreshing means picking a random ID in the bucket's range and
// performing a node search for that ID."
func TestPaper2_3_Refresh(t *testing.T) {
	table := full()
	src := rand.NewPCG(1, 1)
	table.Looked(key(0xc3), minutes(0))
	table.Looked(key(0x43), minutes(30))
	table.Looked(key(0x03), minutes(40))
	stale := slices.Collect(table.Stale(minutes(60+10).Add(-time.Hour), src))
	if len(stale) != 1 || table.Self().CommonPrefixLen(stale[0]) != 0 {
		t.Errorf("stale: %v, want one key of the range of 80 to ff", stale)
	}
	if stale = slices.Collect(table.Stale(minutes(0), src)); len(stale) != 0 {
		t.Errorf("stale: %v, want none", stale)
	}
}

// "To join the network, a node u must have a contact to an already
// participating node w. u inserts w into the appropriate k-bucket. u then
// performs a node lookup for its own node ID. Finally, u refreshes all
// k-buckets further away than its closest neighbor."
func TestPaper2_3_Join(t *testing.T) {
	table := full()
	table.Looked(table.Self(), minutes(5))
	var depths []int
	for k := range table.Stale(minutes(5), rand.NewPCG(1, 1)) {
		depths = append(depths, table.Self().CommonPrefixLen(k))
	}
	if !slices.Equal(depths, []int{0}) {
		t.Errorf("refreshes ranges %v, want 0, all but that of the neighbours", depths)
	}
}

// "Initially, a node u's routing tree has a single node—one k-bucket covering
// the entire ID space. When u learns of a new contact, it attempts to insert
// the contact in the appropriate k-bucket. If that bucket is not full, the new
// contact is simply inserted. Otherwise, if the k-bucket's range includes u's
// own node ID, then the bucket is split into two new buckets, the old contents
// divided between the two, and the insertion attempt repeated."
func TestPaper2_4_SplitsTheOwnRange(t *testing.T) {
	table := NewTable(key(0), TableOptions[string]{K: 3})
	for _, h := range []byte{0x11, 0x12, 0x13} {
		table.Seen(contact(h), start)
	}
	if n := len(bucketsOf(table)); n != 1 {
		t.Fatalf("%d buckets, want 1", n)
	}
	table.Seen(contact(0x08), start) // all share three bits with us: three splits put none apart, a fourth does
	b := bucketsOf(table)
	if len(b) != 5 {
		t.Fatalf("%d buckets, want 5", len(b))
	}
	wantHeads(t, "16 to 31", b[3].Contacts, 0x11, 0x12, 0x13)
	wantHeads(t, "below 16", b[4].Contacts, 0x08)
}

// "If a k-bucket with a different range is full, the new contact is simply
// dropped." Ours waits in the replacement cache (§4.1).
func TestPaper2_4_DropsFromAForeignRange(t *testing.T) {
	table := full()
	table.Seen(contact(0x90), minutes(3))
	b := bucketsOf(table)
	if len(b) != 2 || table.Contains(key(0x90)) || b[0].Replacements != 1 {
		t.Errorf("%d buckets, contact %v, %d waiting; want 2, false, 1", len(b), table.Contains(key(0x90)), b[0].Replacements)
	}
}

// "Nodes keep all valid contacts in a subtree of size at least k nodes, even
// if this requires splitting buckets in which the node's own ID does not
// reside." Ours let those buckets grow to 3k.
func TestPaper2_4_CompleteSubtree(t *testing.T) {
	table := NewTable(key(0), TableOptions[string]{K: 3})
	table.Seen(contact(0x01), start)
	table.Seen(contact(0x02), start)
	for h := byte(0x80); h < 0xa0; h++ {
		table.Seen(contact(h), start)
	}
	if n := table.Len(); n != 2+9 || table.Complete() != 0 {
		t.Errorf("%d contacts, complete to %d; want 2 + 3k and 0", n, table.Complete())
	}
	table.Seen(contact(0x03), start) // now three are nearer, and bucket 0 is foreign
	if table.Complete() != 1 {
		t.Errorf("complete to %d, want 1", table.Complete())
	}
	table.Failed(key(0x80), minutes(1))
	if n := len(bucketsOf(table)[0].Contacts); n != 8 {
		t.Errorf("%d contacts in a bucket over its size after one failed, want 8", n)
	}
}

// "When a new node joins the system, it must store any key-value pair to which
// it is one of the k closest": those that know it as part of their complete
// subtree know the k nearest of such keys without a lookup.
func TestPaper2_5_NeighboursKnowTheNearest(t *testing.T) {
	w := newNetwork(7, 500, DefaultK)
	for range 50 {
		i := w.rnd.IntN(len(w.keys))
		table := w.table(i)
		// A key for which the whole answer lies within the subtree.
		target := RandomKey(w.keys[i], table.Complete(), w.src)
		var near []Key
		for _, c := range table.AppendNearest(nil, target, w.k) {
			near = append(near, c.Key)
		}
		if want := w.truth(target, i); target.CommonPrefixLen(want[len(want)-1]) >= table.Complete() && !slices.Equal(near, want) {
			t.Errorf("node %d does not know the nearest to %v", i, target)
		}
	}
}

// "When a node receives an RPC from an unknown contact and the k-bucket for
// that contact is already full with k contacts, the node places the new
// contact in a replacement cache of nodes eligible to replace stale k-bucket
// entries. ... The replacement cache is kept sorted by time last seen, with
// the most recently seen entry having the highest priority as a replacement
// candidate."
func TestPaper4_1_ReplacementCache(t *testing.T) {
	table := full()
	for i, h := range []byte{0x90, 0x91, 0x92, 0x90} {
		table.Seen(contact(h), minutes(4).Add(time.Duration(i)*time.Second))
	}
	for _, c := range []struct{ failed, promoted byte }{{0x82, 0x90}, {0x81, 0x92}, {0x83, 0x91}} {
		promoted, ok := table.Failed(key(c.failed), minutes(5))
		wantOne(t, "promoted", promoted, ok, c.promoted)
	}
	wantHeads(t, "bucket, by time seen", bucketsOf(table)[0].Contacts, 0x91, 0x92, 0x90)
}

// "If a k-bucket is not full or its replacement cache is empty, Kademlia
// merely flags stale contacts rather than remove them."
func TestPaper4_1_MarkedNotRemoved(t *testing.T) {
	table := full()
	promoted, ok := table.Failed(key(0x82), minutes(4))
	wantNone(t, "promoted", promoted, ok)
	wantHeads(t, "bucket", bucketsOf(table)[0].Contacts, 0x81, 0x82, 0x83)
	wantHeads(t, "nearest", table.AppendNearest(nil, key(0x82), 2), 0x83, 0x81)
	if table.Marked(key(0x81)) || !table.Marked(key(0x82)) || table.Marked(key(0x90)) {
		t.Error("Marked tells others")
	}

	table.Seen(contact(0x90), minutes(4)) // the first newcomer takes its place
	wantHeads(t, "bucket after a newcomer", bucketsOf(table)[0].Contacts, 0x81, 0x83, 0x90)
}

// A marked contact that answers after all is as good as any.
func TestPaper4_1_SeenClearsTheMark(t *testing.T) {
	table := full()
	table.Failed(key(0x82), minutes(4))
	table.Seen(contact(0x82), minutes(5))
	table.Seen(contact(0x90), minutes(5))
	wantHeads(t, "bucket", bucketsOf(table)[0].Contacts, 0x81, 0x83, 0x82)
	if table.Marked(key(0x82)) {
		t.Error("still marked")
	}
	wantHeads(t, "nearest", table.AppendNearest(nil, key(0x82), 1), 0x82)
}

// "Kademlia locks unresponsive contacts and avoids sending them any further
// RPCs for an exponentially increasing backoff interval."
func TestPaper4_1_Backoff(t *testing.T) {
	table := full()
	now := minutes(4)
	table.Failed(key(0x82), now)
	due := func() []Contact[string] { return slices.Collect(table.Suspects(now)) }
	wantHeads(t, "due at once", due())
	for _, wait := range []time.Duration{5, 10, 20, 40, 80, 160, 300, 300} {
		now = now.Add(wait*time.Second - 1)
		wantHeads(t, "due just before", due())
		now = now.Add(1)
		wantHeads(t, "due", due(), 0x82)
		wantHeads(t, "due again at once", due())
		table.Failed(key(0x82), now)
	}
	table.Seen(contact(0x82), now)
	now = now.Add(time.Hour)
	wantHeads(t, "due after it answered", due())
}
