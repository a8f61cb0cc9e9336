package routing

import (
	"encoding/binary"
	"math"
	"slices"
	"testing"
	"time"
)

// seconds is the deadline of all queries in some of these conversations.
func seconds(Query[string]) time.Duration { return time.Second }

func (c *conversation) later(d time.Duration) { c.now = c.now.Add(d) }

func TestLookupWithoutSeeds(t *testing.T) {
	c := talk(t, 0, nil, LookupOptions[string]{})
	c.asks()
	c.isDone(true)
	c.closestAre()
	if _, ok := c.Without(); ok {
		t.Error("somebody answered")
	}
}

// A lone server finds itself, and a put there is stored on 1 of 1.
func TestLookupAlone(t *testing.T) {
	for _, store := range []int{0, 3} {
		c := talk(t, 0, nil, LookupOptions[string]{CountSelf: true, Store: store})
		c.isDone(true)
		c.closestAre(0xff)
	}
}

func TestLookupCountsSelfWhereItBelongs(t *testing.T) {
	o := LookupOptions[string]{K: 3, CountSelf: true}
	c := talk(t, 0xf0, []byte{0xf1, 0x01, 0xf2, 0x02}, o) // we are 0xff
	c.asks(0xf1, 0xf2)                                    // and we ourselves are the third
	c.answers(0xf1, 0xff)
	c.answers(0xf2, 0xff)
	c.isDone(true)
	c.closestAre(0xf1, 0xf2, 0xff)

	c = talk(t, 0, []byte{1, 2, 3}, o) // too far away to be among them
	c.asks(1, 2, 3)
	for _, h := range []byte{1, 2, 3} {
		c.answers(h, 0xff)
	}
	c.isDone(true)
	c.closestAre(1, 2, 3)
}

func TestLookupIgnoresTheUnasked(t *testing.T) {
	c := talk(t, 0, []byte{1, 2, 3, 4}, LookupOptions[string]{Alpha: 1, Quorum: 1})
	c.asks(1)
	c.Answer(key(2), Reply[string]{Closer: []Contact[string]{contact(9)}, Value: true})
	c.Answer(key(8), Reply[string]{Value: true})
	c.fails(3, 8)
	c.isDone(false)
	c.answers(1)
	c.Answer(key(1), Reply[string]{Value: true}) // and once is enough
	c.isDone(false)
	c.asks(2)
	c.answers(2)
	c.asks(3)
	if s := c.Stats(); s != (LookupStats{Queries: 3, Answers: 2, Hops: 1}) {
		t.Errorf("stats %+v", s)
	}
}

// An overdue query gives up its place. Its answer counts all the same, even
// after the end.
func TestLookupLateAnswers(t *testing.T) {
	c := talk(t, 0, []byte{1, 2}, LookupOptions[string]{K: 2, Alpha: 1, Timeout: seconds})
	c.asks(1)
	if at, ok := c.Wake(); !ok || at != start.Add(time.Second) {
		t.Errorf("wake at %v, %v", at, ok)
	}
	c.later(time.Second - 1)
	c.asks()
	c.later(1)
	c.asks(2)
	c.later(100 * time.Millisecond)
	c.answers(1, 3) // late
	c.asks()        // 2 has the place
	c.answers(2)
	c.isDone(true)
	c.closestAre(1, 2)

	c = talk(t, 0, []byte{1, 2}, LookupOptions[string]{K: 2, Timeout: seconds})
	c.asks(1, 2)
	c.answers(2, 3)
	c.later(time.Second)
	c.asks(3)
	c.answers(3)
	c.isDone(true)
	c.closestAre(2, 3)
	c.answers(1, 0)
	c.isDone(true) // though 0 would be nearer
	c.closestAre(1, 2)
	if s := c.Stats(); s != (LookupStats{Queries: 3, Answers: 3, Overdue: 1, Hops: 1}) {
		t.Errorf("stats %+v", s)
	}
}

// An overdue contact without a replacement is awaited: a moment in which all
// contacts are slow ends no lookup.
func TestLookupAwaitsOverdueWithoutReplacement(t *testing.T) {
	c := talk(t, 0, []byte{1, 2}, LookupOptions[string]{K: 2, Timeout: seconds})
	c.asks(1, 2)
	c.answers(2)
	c.later(time.Hour)
	c.isDone(false)
	if at, ok := c.Wake(); ok {
		t.Errorf("wake at %v, though time alone changes nothing", at)
	}
	c.fails(1)
	c.isDone(true)
	c.closestAre(2)
}

func TestLookupPatient(t *testing.T) {
	for _, comes := range []bool{true, false} {
		c := talk(t, 0, []byte{1, 2}, LookupOptions[string]{K: 2, Timeout: seconds, Patient: true})
		c.asks(1, 2)
		c.answers(2, 3)
		c.later(time.Second)
		c.asks(3) // in case 1 does not answer
		c.answers(3)
		c.isDone(false)
		c.asks()
		if at, ok := c.Wake(); ok {
			t.Errorf("wake at %v, though time alone changes nothing", at)
		}
		if comes {
			c.answers(1)
			c.isDone(true)
			c.closestAre(1, 2)
		} else {
			c.fails(1)
			c.isDone(true)
			c.closestAre(2, 3)
		}
	}
}

// With Patience the wait for the overdue ends, but not before another node has
// answered. A late answer counts all the same.
func TestLookupPatience(t *testing.T) {
	o := LookupOptions[string]{K: 2, Timeout: seconds, Patience: func(Query[string]) time.Duration { return 2 * time.Second }}
	for name, patient := range map[string]bool{"few": false, "patient": true} {
		t.Run(name, func(t *testing.T) {
			o.Patient = patient
			seeds := []byte{1, 2}
			if patient {
				seeds = append(seeds, 3) // takes the place of 1
			}
			c := talk(t, 0, seeds, o)
			c.asks(1, 2)
			c.answers(2)
			c.later(time.Second)
			if patient {
				c.asks(3)
				c.answers(3)
			}
			c.isDone(false)
			if at, ok := c.Wake(); !ok || at != start.Add(3*time.Second) {
				t.Errorf("wake at %v, %v", at, ok)
			}
			c.later(2*time.Second - 1)
			c.isDone(false)
			c.later(1)
			c.isDone(true)
			c.closestAre(seeds[1:]...)
			c.answers(1)
			c.closestAre(1, 2)
		})
	}
	o.Patient = false
	c := talk(t, 0, []byte{1, 2}, o)
	c.asks(1, 2)
	c.later(time.Hour) // both deadlines at once: the process may have been suspended
	c.isDone(false)
	if at, ok := c.Wake(); ok {
		t.Errorf("wake at %v, though time alone changes nothing", at)
	}
	c.answers(2)
	c.isDone(true)
	c.closestAre(2)
}

// A put leaves the walk with one answer, ends without the silent nodes, and handles
// a late answer to FIND as such.
func TestPutPatience(t *testing.T) {
	o := LookupOptions[string]{K: 4, Store: 3, Timeout: seconds, Patience: seconds}
	c := talk(t, 0, []byte{1, 2, 3, 4}, o)
	c.asks(1, 2, 3)
	c.answers(2)
	c.stores(2, 4) // no more than k are known
	c.later(time.Second - 1)
	c.answers(2)
	c.answers(4)
	c.isDone(false)
	c.later(1)
	c.asks(4) // too few are left, and its answer to the STORE was bounded
	c.answers(4)
	c.answers(3) // late
	c.stores(3)
	c.later(time.Second) // 1 is lost, and the STORE to 3 overdue
	c.isDone(false)
	c.later(time.Second)
	c.isDone(true)
	c.closestAre(2, 4)
	c.answers(3)
	c.closestAre(2, 3, 4)

	o.K = 2
	c = talk(t, 0, []byte{1, 2, 3}, o)
	c.asks(1, 2, 3)
	c.answers(2)
	c.asks()
	c.later(time.Second) // no other is left to find the nearest by
	c.stores(2)
	c.answers(3)
	c.stores(3)
}

// A put of which too few nodes have answered to reach its Quorum waits on.
func TestPutAwaitsItsQuorum(t *testing.T) {
	for quorum, count := range []int{0: 1, 1: 1, 2: 1, 3: 2} { // the looking node is one itself
		o := LookupOptions[string]{K: 5, Store: 1, Quorum: quorum, CountSelf: true, Timeout: seconds, Patience: seconds}
		c := talk(t, 0, []byte{1, 2, 3}, o)
		c.asks(1)
		c.answers(1)
		c.stores(1, 2, 3)
		for i := range byte(count) {
			c.later(time.Minute)
			c.isDone(false)
			c.answers(1 + i)
		}
		c.isDone(true)
	}
}

// Any option may be as large as an int is.
func TestLookupOfHugeOptions(t *testing.T) {
	for _, o := range []LookupOptions[string]{
		{K: math.MaxInt}, {Alpha: math.MaxInt}, {Store: math.MaxInt}, {Quorum: math.MaxInt}, {Witnesses: math.MaxInt},
		{K: math.MaxInt, Alpha: math.MaxInt, Store: math.MaxInt, Quorum: math.MaxInt, Witnesses: math.MaxInt},
	} {
		c := talk(t, 0, []byte{1, 2}, o)
		for !c.Done(c.now) {
			q, ok := c.Next(c.now)
			if !ok {
				t.Fatalf("%+v: asks none, and is not done", o)
			}
			c.answers(q.Key[0], 3)
		}
		c.closestAre(1, 2, 3)
	}
}

// Patience is for those among the k nearest, not for all that were ever asked.
func TestLookupPatientOfTheNearest(t *testing.T) {
	c := talk(t, 0, []byte{8, 9}, LookupOptions[string]{K: 2, Timeout: seconds, Patient: true})
	c.asks(8, 9)
	c.answers(8, 1, 2)
	c.later(time.Second)
	c.asks(1, 2)
	c.answers(1)
	c.answers(2)
	c.isDone(true)
}

func TestLookupQuorum(t *testing.T) {
	c := talk(t, 0, []byte{1, 2, 3, 4}, LookupOptions[string]{Quorum: 2})
	c.asks(1, 2, 3)
	c.Answer(key(3), Reply[string]{Value: true})
	c.isDone(false)
	c.answers(1)
	c.asks(4)
	c.Answer(key(4), Reply[string]{Value: true})
	c.isDone(true)
	without, ok := c.Without()
	wantOne(t, "without", without, ok, 1)
}

func TestLookupHops(t *testing.T) {
	c := talk(t, 0, []byte{9}, LookupOptions[string]{Quorum: 1})
	for hop, h := range []byte{9, 5, 2} {
		q, _ := c.Next(c.now)
		if q.Key != key(h) || q.Hop != hop+1 {
			t.Errorf("asks %x at hop %d, want %x at %d", q.Key[0], q.Hop, h, hop+1)
		}
		if h == 2 {
			c.Answer(key(2), Reply[string]{Value: true})
		} else {
			c.answers(h, []byte{9: 5, 5: 2}[h])
		}
		if n := c.Stats().Hops; n != hop+1 {
			t.Errorf("%d hops, want %d", n, hop+1)
		}
	}
}

// Those past the k-th in an answer are not looked at.
func TestLookupCutsAnswers(t *testing.T) {
	c := talk(t, 0, []byte{9}, LookupOptions[string]{K: 3})
	c.asks(9)
	c.answers(9, 5, 6, 7, 1, 2)
	c.asks(5, 6, 7)
}

// Where nearer nodes failed, one from outside their subtree is queried as well:
// it may name nodes that those inside leave out.
func TestLookupWitness(t *testing.T) {
	o := LookupOptions[string]{K: 4}
	c := talk(t, 0, []byte{1, 2, 3, 4}, o)
	c.asks(1, 2, 3)
	c.fails(1)
	c.asks(4)
	c.answers(4, 5, 9, 20, 21) // 4 to 7 have 5 bits in common with the target, 8 to 15 have 4
	c.asks(5)
	c.answers(5)
	c.answers(3)
	c.answers(2, 6) // four have answered; one of the nearer failed, more than k/8
	c.asks(9)
	c.isDone(false)
	c.answers(9, 0)
	c.asks(0)
	c.answers(0)
	c.isDone(true)
	c.closestAre(0, 2, 3, 4)

	o.Witnesses = -1
	c = talk(t, 0, []byte{1, 2, 3, 4}, o)
	c.asks(1, 2, 3)
	c.fails(1)
	c.asks(4)
	c.answers(4, 5, 9)
	c.asks(5)
	for _, h := range []byte{2, 3, 5} {
		c.answers(h)
	}
	c.isDone(true) // as the paper has it
}

// A put walks until the nearest few have answered, then stores at all of the k
// nearest at once.
func TestPutBurst(t *testing.T) {
	c := talk(t, 0, []byte{10, 11, 12, 13, 14}, LookupOptions[string]{K: 5, Alpha: 2, Store: 2})
	c.asks(10, 11)
	c.answers(10, 1, 2)
	c.asks(1) // no more than two at a time; 11 is out
	c.answers(11)
	c.asks(2)
	c.answers(1)
	c.answers(2, 3)
	c.stores(1, 2, 3, 10, 11)
	c.answers(3, 4) // a STORE's answer names others, too
	c.stores(4)
	for _, h := range []byte{1, 2, 4, 10} {
		c.isDone(false)
		c.answers(h)
	}
	c.isDone(true)
	c.closestAre(1, 2, 3, 4, 10)
	c.answers(11) // late
	if s := c.Stats(); s != (LookupStats{Queries: 10, Stores: 6, Answers: 10, Hops: 2}) {
		t.Errorf("stats %+v", s)
	}
}

func TestPutReplacesTheRefused(t *testing.T) {
	c := talk(t, 0, []byte{1, 2, 3, 4, 5, 6}, LookupOptions[string]{K: 3, Store: 1, Timeout: seconds})
	c.asks(1)
	c.answers(1)
	c.stores(1, 2, 3)
	c.fails(2)
	c.stores(4, 5, 6) // with spares: the only STORE that is done has failed
	c.answers(3, 7, 8)
	c.later(time.Second) // 1, 4, 5 and 6 stall
	c.stores(7, 8)
	c.answers(7)
	c.isDone(false)
	c.answers(4) // late, but stored
	c.isDone(true)
	c.closestAre(3, 4, 7)
	c.answers(8)
	c.answers(1) // later still
	c.closestAre(1, 3, 4)
}

// Answers to a STORE name none beyond its Bound. When that leaves too few, because
// some of the k have failed, those that have stored are asked in full, unless they
// have answered a FIND already.
func TestPutLooksBeyondItsBound(t *testing.T) {
	c := talk(t, 0, []byte{1, 2, 3}, LookupOptions[string]{K: 3, Store: 1})
	c.asks(1)
	c.answers(1)
	for i := range 3 {
		q, ok := c.Next(c.now)
		if !ok || !q.Store || q.Bound != key(3) {
			t.Fatalf("STORE %d: %+v, %v; want bound 3", i, q, ok)
		}
	}
	c.answers(1)
	c.answers(2)
	c.fails(3)
	c.asks(2)       // the nearest that has stored and answered no FIND
	c.isDone(false) // its answer is awaited
	c.answers(2, 5, 4)
	if q, ok := c.Next(c.now); !ok || !q.Store || q.Key != key(4) || q.Bound != (Key{}) {
		t.Fatalf("%+v, %v; want a STORE to 4, without a bound", q, ok)
	}
	c.answers(4)
	c.isDone(true)
	c.closestAre(1, 2, 4)

	// No other contact: each is asked once, and the put ends with the stored ones.
	c = talk(t, 0, []byte{1, 2, 3}, LookupOptions[string]{K: 3, Store: 1, Timeout: seconds})
	c.asks(1)
	c.answers(1)
	c.stores(1, 2, 3)
	c.answers(1)
	c.answers(2)
	c.fails(3)
	c.asks(2)
	c.later(time.Second) // no answer this time: the stored copies count
	c.isDone(true)
	c.closestAre(1, 2)
}

// A FIND that is out when the burst begins is waited for: a node has one query
// at a time, and gets its STORE after.
func TestPutWaitsForFind(t *testing.T) {
	c := talk(t, 0, []byte{1, 2, 3}, LookupOptions[string]{K: 3, Store: 2, Alpha: 3})
	c.asks(1, 2)
	c.answers(1, 0)
	c.asks(0)
	c.answers(0)
	c.stores(0, 1) // 0 and 1 have answered; 2 is being asked
	c.answers(2)
	c.stores(2)
	c.answers(0)
	c.answers(1)
	c.isDone(false)
	c.answers(2)
	c.isDone(true)
}

// A node that stalled in the walk is stored at, once it has answered.
func TestPutLateFind(t *testing.T) {
	c := talk(t, 0, []byte{1, 2, 3}, LookupOptions[string]{K: 3, Store: 1, Timeout: seconds})
	c.asks(1)
	c.later(time.Second)
	c.asks(2)
	c.answers(2)
	c.stores(2, 3)
	c.answers(1)
	c.stores(1)
	c.answers(1)
	c.answers(2)
	c.answers(3)
	c.isDone(true)
	c.closestAre(1, 2, 3)
}

func TestPutCountsSelf(t *testing.T) {
	c := talk(t, 0xf0, []byte{0xf1, 0xf2, 0x01}, LookupOptions[string]{K: 3, Store: 2, CountSelf: true})
	c.asks(0xf1, 0xf2)
	c.answers(0xf1)
	c.answers(0xf2)
	c.stores(0xf1, 0xf2)
	c.answers(0xf1)
	c.answers(0xf2)
	c.isDone(true)
	c.closestAre(0xf1, 0xf2, 0xff)
}

// A put for which every contact fails ends, stored nowhere.
func TestPutEndsWhenEveryStoreFails(t *testing.T) {
	c := talk(t, 0, []byte{1, 2}, LookupOptions[string]{Store: 3})
	c.asks(1, 2)
	c.answers(1)
	c.fails(2)
	c.stores(1)
	c.fails(1)
	c.isDone(true)
	c.closestAre()
}

// However many lies it is told, a lookup keeps a bounded number of contacts,
// the nearest ones, asks each once, and ends.
func TestLookupFlooded(t *testing.T) {
	const k = 4
	o := LookupOptions[int]{K: k}
	l := NewLookup(Key{}, slices.Values([]Contact[int]{{Key: KeyOf("seed")}}), o)
	next := ^uint64(0) >> 1 // every lie is nearer than all before
	asked := map[Key]bool{}
	for !l.Done(start) {
		q, ok := l.Next(start)
		if !ok || asked[q.Key] {
			t.Fatalf("asks %v, %v", q, ok)
		}
		asked[q.Key] = true
		var r Reply[int]
		for range 100 {
			var lie Key
			binary.BigEndian.PutUint64(lie[:], next)
			r.Closer = append(r.Closer, Contact[int]{Key: lie})
			next -= 1 << 40
		}
		l.Answer(q.Key, r)
		if len(l.order) > heardFactor*k || len(l.known) > heardFactor*k {
			t.Fatalf("%d contacts kept, want at most %d", len(l.order), heardFactor*k)
		}
	}
	if len(asked) != heardFactor*k {
		t.Errorf("%d asked, want %d", len(asked), heardFactor*k)
	}
	if !slices.IsSortedFunc(l.order, func(a, b place) int {
		return Key{}.CompareDistance(l.known[a.i].Key, l.known[b.i].Key)
	}) {
		t.Error("not in order")
	}
}

// With room for no more, a nearer contact takes the place of the farthest not
// asked, and a farther one is refused.
func TestLookupKeepsTheNearest(t *testing.T) {
	seeds := []byte{200}
	c := talk(t, 0, seeds, LookupOptions[string]{K: 1})
	for h := byte(100); h < 100+heardFactor-1; h++ {
		c.hear(contact(h), 2, heard)
	}
	c.hear(contact(210), 2, heard)
	c.hear(contact(50), 2, heard)
	var got []byte
	for _, p := range c.order {
		got = append(got, c.known[p.i].Key[0])
	}
	if len(got) != heardFactor || got[0] != 50 || got[1] != 100 || got[heardFactor-1] != 100+heardFactor-2 {
		t.Errorf("keeps %d", got)
	}
}

func TestLookupIterationStops(t *testing.T) {
	c := talk(t, 0, []byte{1, 2}, LookupOptions[string]{})
	c.asks(1, 2)
	c.answers(1)
	c.answers(2)
	for range c.Closest() {
		break
	}
}
