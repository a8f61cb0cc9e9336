package sim

import "time"

// A queue holds what is to happen, and gives it out in the order of time; of the
// same time, first come first served. It is a binary heap: a day of a thousand
// nodes is some fifty million events.
type queue struct {
	events []event
	count  uint64
}

type event struct {
	at    time.Duration // since the beginning
	order uint64
	do    func()
}

func (e *event) before(o *event) bool {
	return e.at < o.at || e.at == o.at && e.order < o.order
}

func (q *queue) push(at time.Duration, do func()) {
	q.count++
	q.events = append(q.events, event{at, q.count, do})
	e := q.events
	for i := len(e) - 1; i > 0; {
		up := (i - 1) / 2
		if !e[i].before(&e[up]) {
			break
		}
		e[i], e[up] = e[up], e[i]
		i = up
	}
}

// pop removes the next event; there must be one.
func (q *queue) pop() event {
	e := q.events
	first, last := e[0], len(e)-1
	e[0], e[last] = e[last], event{}
	e = e[:last]
	for i := 0; ; {
		down := 2*i + 1
		if down+1 < last && e[down+1].before(&e[down]) {
			down++
		}
		if down >= last || !e[down].before(&e[i]) {
			break
		}
		e[i], e[down] = e[down], e[i]
		i = down
	}
	q.events = e
	return first
}
