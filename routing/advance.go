package routing

import "slices"

// bound returns how many queries may be awaited: α in the walk. In the burst k
// STOREs, and at most as many spares, come beside the FINDs of the walk that are
// still awaited.
func (l *Lookup[A]) bound() int {
	if l.burst {
		return 2*l.o.K + l.o.Alpha
	}
	return l.o.Alpha
}

// advance goes through the k nearest not failed. It begins the burst and ends
// the lookup when it is time for that, and returns the candidate to query
// next, or -1.
func (l *Lookup[A]) advance() int32 {
	if l.o.Store > 0 && !l.burst {
		if f := l.frontier(l.o.Store, answered); !l.walked(f) {
			return f.next
		}
		l.burst = true
	}
	if l.burst {
		f := l.frontier(l.o.K, stored)
		if f.next < 0 && !f.full && l.curbed {
			f = l.widen(f)
		}
		l.ended = l.settled(f)
		if n := l.spares(f); f.next < 0 && !l.ended && n > 0 {
			f = l.frontier(l.o.K+n, stored)
		}
		return f.next
	}
	f := l.frontier(l.o.K, answered)
	if l.settled(f) && f.full && f.gone() > l.o.K/8 {
		f = l.witnesses(f)
	}
	l.ended = l.settled(f)
	return f.next
}

// spares returns how many nodes beyond the k nearest are to store: as many as, by
// the share of queries that went unanswered so far, will not answer among the STOREs
// awaited. Where all answer in time there are none. A single FIND does not count, and
// several count for less: their deadlines are short, so that on a busy machine some
// pass though all are alive.
func (l *Lookup[A]) spares(f front) int {
	if f.gone() == 0 || !f.full {
		return 0
	}
	finds, stores := 0, 0
	for _, at := range l.order[:f.last] {
		if c := &l.known[at.i]; c.state == overdue || c.state == lost || c.state == failed {
			if c.store {
				stores++
			} else {
				finds++
			}
		}
	}
	silent, tried := stores, stores+f.done
	if finds > 1 {
		silent, tried = silent+finds, tried+finds+l.o.K/2
	}
	if silent == 0 {
		return 0
	}
	return (f.awaited*silent + tried - 1) / tried
}

// silent returns how many queries failed, or were not answered in time.
func (l *Lookup[A]) silent() int { return l.stats.Overdue + l.stats.Failures }

// walked reports whether the walk of a put is over: the nearest few that have not
// failed have answered or are overdue, and at least one has answered. The burst
// still waits for the overdue ones, and the answers to its STOREs name closer
// contacts as the answers to FIND do. One answer is enough, too, with no more than k contacts
// known: all of them are to store.
func (l *Lookup[A]) walked(f front) bool {
	if f.done == 0 {
		return !f.busy && f.late+f.lost == 0
	}
	return !f.busy || !l.frontier(l.o.K+1, answered).full || l.heldUp()
}

// heldUp reports whether all of the nearest few that have not failed have answered,
// or are overdue.
func (l *Lookup[A]) heldUp() bool {
	n := l.o.Store
	for _, at := range l.order {
		switch l.known[at.i].state {
		case failed:
			continue
		case heard, asked:
			return false
		}
		if n--; n == 0 {
			break
		}
	}
	return true
}

// front is the result of frontier.
type front struct {
	next    int32 // the candidate to query next, or -1
	busy    bool  // a candidate must be queried, or is awaited
	full    bool  // there were as many as asked for
	awaited int   // of them are asked
	last    int   // where the last of them stands in order
	done    int   // of them have reached the state wanted, the looking node apart
	own     int   // 1 if the looking node is one of them

	failed, late, lost int // nearer than the last
}

// gone returns how many candidates did not answer, or not in time.
func (f front) gone() int { return f.failed + f.late + f.lost }

// frontier goes through the n nearest candidates that have not failed, with the
// overdue and the lost counted as failed.
func (l *Lookup[A]) frontier(n int, done state) front {
	f := front{next: -1}
	for p, at := range l.order {
		switch s := l.known[at.i].state; s {
		case failed:
			f.failed++
			continue
		case overdue:
			f.late++
			continue
		case lost:
			f.lost++
			continue
		case done:
			f.done++
		case own:
			f.own = 1
		default:
			f.busy = true
			if s == asked {
				f.awaited++
			} else if f.next < 0 {
				f.next = at.i
			}
		}
		if n--; n == 0 {
			f.full, f.last = true, p
			break
		}
	}
	return f
}

// settled reports whether nothing remains to be done or awaited. Overdue
// candidates count as failed where others fill their places: with fewer than k
// besides them, or in a patient lookup, they are awaited until their query is
// answered or failed, or they are lost. The lost are awaited only while too few
// others have answered. So a moment in which all are slow ends no lookup.
func (l *Lookup[A]) settled(f front) bool {
	enough := f.done > 0 && (l.o.Store <= 0 || f.done+f.own >= l.o.Quorum)
	waits := f.late > 0 || f.lost > 0 && !enough
	return !f.busy && !(waits && (l.o.Patient || !f.full))
}

// witnesses is what remains to be done once the k nearest have answered and
// some nearer than the k-th have failed: the nearest few from outside the
// smallest subtree that holds all these must have answered, too.
//
// An answer names k contacts. Every node in that subtree knows it well and
// names the same k; if some of them are dead, the live ones just behind them
// go unnamed. Each node outside knows a different sample of it.
func (l *Lookup[A]) witnesses(f front) front {
	subtree := l.target.CommonPrefixLen(l.known[l.order[f.last].i].Key)
	n := l.o.Witnesses
	for _, at := range l.order[f.last+1:] {
		c := &l.known[at.i]
		if n <= 0 {
			break
		}
		if c.state == failed || c.state == overdue || c.state == lost || l.target.CommonPrefixLen(c.Key) >= subtree {
			continue
		}
		n--
		switch c.state {
		case heard:
			return front{next: at.i, busy: true}
		case asked:
			f.busy = true
		}
	}
	return f
}

// widen makes good for a Bound that was too near: STOREs failed, fewer than k
// are left, and the answers named only those nearer than the k-th was then. The
// nearest few that have stored, and have answered no FIND before, are asked with
// FIND_NODE, once each, α at a time.
func (l *Lookup[A]) widen(f front) front {
	n := l.o.Store
	for _, at := range l.order {
		c := &l.known[at.i]
		if n == 0 {
			break
		}
		if c.again {
			n--
		} else if c.state == stored && !c.found {
			n--
			if f.busy = true; len(l.awaited) < l.o.Alpha {
				f.next = at.i
				return f
			}
		}
	}
	return f
}

// hear adds a contact to the candidates, unless it is known, is the looking
// node, or is farther than all of those there is room for.
func (l *Lookup[A]) hear(c Contact[A], hop int32, s state) {
	if c.Key == l.o.Self.Key && s != own {
		return
	}
	p, ok := l.find(&c.Key)
	if ok {
		return
	}
	i := int32(len(l.known))
	if len(l.order) < heardFactor*l.o.K {
		l.known = append(l.known, candidate[A]{})
	} else {
		// The farthest that was never asked makes room.
		q := len(l.order) - 1
		for q >= p && l.known[l.order[q].i].state != heard {
			q--
		}
		if q < p {
			return
		}
		i = l.order[q].i
		l.order = slices.Delete(l.order, q, q+1)
	}
	l.known[i] = candidate[A]{Contact: c, hop: hop, state: s}
	l.order = slices.Insert(l.order, p, place{c.Key.word(0) ^ l.target.word(0), i})
}

// find returns where key stands, or would stand, by distance from the target.
func (l *Lookup[A]) find(key *Key) (p int, ok bool) {
	head := key.word(0) ^ l.target.word(0)
	lo, hi := 0, len(l.order)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		at := l.order[mid]
		nearer := head < at.head
		if head == at.head {
			if l.known[at.i].Key == *key { // as most in an answer are by then
				return mid, true
			}
			nearer = l.target.CompareDistance(*key, l.known[at.i].Key) < 0
		}
		if nearer {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo, false
}
