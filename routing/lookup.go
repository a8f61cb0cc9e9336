package routing

import (
	"iter"
	"slices"
	"time"
)

// heardFactor times k is how many contacts a lookup keeps. It bounds the memory
// of a lookup that gets false answers, and makes it end: only kept contacts are
// queried, and a queried contact is kept until the end.
const heardFactor = 32

// seedFactor times k is how many seeds a lookup takes. The paper's k would do
// in a healthy network. In a small one where some have just died, all answers
// name the same k, the dead among them; those just behind them are
// known from the own table only.
const seedFactor = 2

// state is how far a lookup is with one contact.
//
//	heard → asked → answered → asked (STORE) → stored
//	          ↓↘                ↓↘      (and asked again, and stored: widen)
//	          ↓  overdue →      ↓  overdue → answered, stored or failed
//	        failed    ↓       failed    ↓
//	                 lost              lost → answered, stored or failed
type state uint8

const (
	heard state = iota
	asked
	overdue // asked, and past its deadline
	lost    // overdue, and past the patience with it
	answered
	stored
	failed
	own // the looking node itself, where it counts
)

// candidate is a contact that a lookup has heard of.
type candidate[A any] struct {
	Contact[A]
	deadline time.Time // of the query; once it is overdue, of the patience with it; zero: none
	patience time.Duration
	hop      int32
	state    state
	store    bool // the query sent last was a STORE
	again    bool // a FIND was sent to it after it had stored: see widen
	found    bool // it has answered a FIND
	value    bool // it had a value
}

// Lookup finds the k nodes nearest to a target, or a value (Kademlia §2.3).
// It is a state machine without I/O: Next returns the next query, Answer and
// Fail take its result, Wake says when time alone changes something,
// Done says that it has ended. Run is all of this in one call.
//
// Each step queries the nearest contact not yet queried of the k nearest that
// have not failed, with never more than Alpha queries awaited; the lookup ends
// when these k have all answered, and the Witnesses where it takes them. No node
// is sent the same kind of query twice, and none has two queries at a time.
//
// A lookup keeps at most 32 K contacts, so it sends at most 32 K queries of
// either kind, whatever it is told.
//
// A Lookup is used by one goroutine at a time and has no clock: now is passed
// in and should not run backwards. Make one with NewLookup.
//
// Disjoint paths (S/Kademlia) will be several Lookups over one set of claims:
// advance is the only place where a contact becomes one to be asked.
type Lookup[A any] struct {
	target Key
	o      LookupOptions[A]

	known   []candidate[A] // in the order they were heard of
	order   []place        // the known by distance from target
	awaited []int32        // the known that are asked; at most Alpha, or 2 K + Alpha in the burst
	late    []int32        // the known that are overdue and become lost at their deadline

	burst  bool // the STOREs have begun
	curbed bool // a Bound was named, so answers may have left out some contacts
	ended  bool // final
	stats  LookupStats
	found  int // replies with a value
}

// place is where a candidate stands by distance: the leading word of that
// distance, which nearly always decides, and its index in known. Sixteen bytes
// are moved to make room for another; a candidate would be ten times that.
type place struct {
	head uint64
	i    int32
}

// NewLookup returns a lookup of target that starts from the first 2 K of seeds,
// which should come nearest first, as Table.Nearest gives them.
func NewLookup[A any](target Key, seeds iter.Seq[Contact[A]], o LookupOptions[A]) *Lookup[A] {
	if o.K <= 0 {
		o.K = DefaultK
	}
	o.K = min(o.K, maxK)
	if o.Alpha <= 0 {
		o.Alpha = DefaultAlpha
	}
	o.Alpha = min(o.Alpha, heardFactor*o.K) // there are no more to ask
	if o.Witnesses == 0 {
		o.Witnesses = 1
	}
	room := 6 * min(o.K, DefaultK) // what a usual lookup hears of
	l := &Lookup[A]{
		target: target, o: o,
		known:   make([]candidate[A], 0, room),
		order:   make([]place, 0, room),
		awaited: make([]int32, 0, min(o.K+o.Alpha, room)),
	}
	if o.CountSelf {
		l.hear(o.Self, 0, own)
	}
	n := 0
	for c := range seeds {
		l.hear(c, 1, heard)
		if n++; n == seedFactor*o.K {
			break
		}
	}
	return l
}

// Next returns a query to be sent now, if there is one. Call it until there is
// none, at first and after each Answer, Fail or Wake.
func (l *Lookup[A]) Next(now time.Time) (q Query[A], ok bool) {
	l.expire(now)
	if l.ended || len(l.awaited) >= l.bound() {
		return q, false
	}
	i := l.advance()
	if i < 0 || len(l.awaited) >= l.bound() {
		return q, false
	}
	c := &l.known[i]
	c.again = c.state == stored
	c.state, c.store, c.deadline = asked, l.burst && !c.again, time.Time{}
	q = Query[A]{Contact: c.Contact, Store: c.store, Hop: int(c.hop)}
	if q.Store {
		if f := l.frontier(l.o.K, stored); f.full && l.silent() == 0 {
			q.Bound, l.curbed = l.known[l.order[f.last].i].Key, true
		}
	}
	c.patience = 0
	if l.o.Timeout != nil {
		if d := l.o.Timeout(q); d > 0 {
			c.deadline = now.Add(d)
			if l.o.Patience != nil {
				c.patience = max(l.o.Patience(q), 0)
			}
		}
	}
	l.awaited = append(l.awaited, i)
	l.stats.Queries++
	if q.Store {
		l.stats.Stores++
	}
	return q, true
}

// Answer tells the lookup that key answered the query sent to it. Answers of
// those that were asked nothing, or that answered already, are ignored.
func (l *Lookup[A]) Answer(key Key, r Reply[A]) {
	i := l.settle(key)
	if i < 0 {
		return
	}
	l.stats.Answers++
	c := &l.known[i]
	c.state = answered
	c.found = c.found || !c.store
	if c.store || c.again {
		c.state = stored
	}
	if r.Value {
		c.value = true
		if l.found++; l.found == 1 {
			l.stats.Hops = int(c.hop)
		}
		if l.o.Store <= 0 && l.o.Quorum > 0 && l.found >= l.o.Quorum {
			l.ended = true
		}
	}
	hop := c.hop + 1
	for _, n := range r.Closer[:min(len(r.Closer), l.o.K)] {
		l.hear(n, hop, heard)
	}
}

// Fail tells the lookup that the query sent to key failed or was refused: no
// answer to it will come.
func (l *Lookup[A]) Fail(key Key) {
	if i := l.settle(key); i >= 0 {
		l.stats.Failures++
		c := &l.known[i]
		c.state = failed
		if c.again {
			c.state = stored
		}
	}
}

// settle returns the index of a candidate that has a query out, which is
// awaited no longer, or -1.
func (l *Lookup[A]) settle(key Key) int32 {
	p, ok := l.find(&key)
	if !ok {
		return -1
	}
	i := l.order[p].i
	switch l.known[i].state {
	case asked:
		l.awaited = drop(l.awaited, i)
		return i
	case overdue:
		l.late = drop(l.late, i)
		return i
	case lost:
		return i
	}
	return -1
}

// drop removes i from a list in which order means nothing.
func drop(list []int32, i int32) []int32 {
	if j := slices.Index(list, i); j >= 0 {
		last := len(list) - 1
		list[j] = list[last]
		return list[:last]
	}
	return list
}

// expire gives up the queries whose deadline has come.
func (l *Lookup[A]) expire(now time.Time) {
	for j := len(l.awaited) - 1; j >= 0; j-- {
		i := l.awaited[j]
		c := &l.known[i]
		if c.deadline.IsZero() || now.Before(c.deadline) {
			continue
		}
		l.stats.Overdue++
		l.awaited = drop(l.awaited, i) // puts one of those already seen in its place
		switch c.state = overdue; {
		case c.again:
			c.state = stored
		case c.patience > 0:
			c.deadline = c.deadline.Add(c.patience)
			l.late = append(l.late, i)
		}
	}
	for j := len(l.late) - 1; j >= 0; j-- {
		i := l.late[j]
		if c := &l.known[i]; !now.Before(c.deadline) {
			c.state = lost
			l.late = drop(l.late, i)
		}
	}
}

// Wake returns the next time at which the lookup changes though nothing comes
// back: the earliest deadline, or end of Patience. Call Next or Done then.
func (l *Lookup[A]) Wake() (at time.Time, ok bool) {
	if l.ended {
		return at, false
	}
	for _, list := range [...][]int32{l.awaited, l.late} {
		for _, i := range list {
			if d := l.known[i].deadline; !d.IsZero() && (!ok || d.Before(at)) {
				at, ok = d, true
			}
		}
	}
	return at, ok
}

// Done reports whether the lookup has ended. Once it has, nothing starts it
// again, though answers that still come are counted.
func (l *Lookup[A]) Done(now time.Time) bool {
	l.expire(now)
	if !l.ended {
		l.advance()
	}
	return l.ended
}

// Closest yields the up to K nodes nearest to the target that answered (in a
// put, that stored), nearest first; Self among them where CountSelf says so.
func (l *Lookup[A]) Closest() iter.Seq[Contact[A]] {
	return func(yield func(Contact[A]) bool) {
		want := answered
		if l.o.Store > 0 {
			want = stored
		}
		n := 0
		for _, p := range l.order {
			c := &l.known[p.i]
			if c.state != want && c.state != own && !c.again {
				continue
			}
			if n++; !yield(c.Contact) || n == l.o.K {
				return
			}
		}
	}
}

// Without returns the nearest node that answered a find-value without a value:
// the one to give a copy (Kademlia §2.3).
func (l *Lookup[A]) Without() (c Contact[A], ok bool) {
	for _, p := range l.order {
		if k := &l.known[p.i]; k.state == answered && !k.value {
			return k.Contact, true
		}
	}
	return c, false
}

// Stats returns what the lookup did so far.
func (l *Lookup[A]) Stats() LookupStats {
	s := l.stats
	for _, p := range l.order {
		if s.Hops > 0 {
			break
		}
		if c := &l.known[p.i]; c.state == answered || c.state == stored {
			s.Hops = int(c.hop)
		}
	}
	return s
}
