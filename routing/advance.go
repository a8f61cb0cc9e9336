package routing

import "slices"

// bound returns how many queries may be awaited: α in the walk, k in the
// burst of STOREs.
func (l *Lookup[A]) bound() int {
	if l.burst {
		return max(l.o.K, l.o.Alpha)
	}
	return l.o.Alpha
}

// advance goes through the k nearest not failed. It begins the burst and ends
// the lookup when it is time for that, and returns the candidate to query
// next, or -1.
func (l *Lookup[A]) advance() int32 {
	if l.o.Store > 0 && !l.burst {
		next, settled := l.frontier(l.o.Store, answered, false)
		if !settled {
			return next
		}
		l.burst = true
	}
	done := answered
	if l.burst {
		done = stored
	}
	next, settled := l.frontier(l.o.K, done, l.o.Patient)
	l.ended = settled
	return next
}

// frontier goes through the n nearest candidates that have not failed. next is
// the nearest of them to be queried, or -1; settled says that all of them have
// reached the state done. Overdue ones count as failed, except that a patient
// lookup is not settled before it has heard of those nearer than the n-th.
func (l *Lookup[A]) frontier(n int, done state, patient bool) (next int32, settled bool) {
	next, settled = -1, true
	for _, p := range l.order {
		switch s := l.known[p.i].state; {
		case s == failed:
			continue
		case s == overdue:
			settled = settled && !patient
			continue
		case s == done || s == own:
		default:
			settled = false
			if next < 0 && s != asked {
				next = p.i
			}
		}
		if n--; n == 0 {
			break
		}
	}
	return next, settled
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
			switch l.target.CompareDistance(*key, l.known[at.i].Key) {
			case 0:
				return mid, true
			case -1:
				nearer = true
			}
		}
		if nearer {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo, false
}
