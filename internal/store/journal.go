package store

// A journal notes the changes of an index until they are committed, so that a
// failed commit can be undone. The methods of a nil journal do nothing: Memory has
// none.
type journal struct {
	changes []change
}

type change struct {
	e    *entry
	what uint8
	was  *entry // a copy of e before it was changed in place
}

const (
	wasInserted = iota
	wasRemoved
	wasChanged
)

func (j *journal) inserted(e *entry) {
	if j != nil {
		j.changes = append(j.changes, change{e: e, what: wasInserted})
	}
}

func (j *journal) removed(e *entry) {
	if j != nil {
		j.changes = append(j.changes, change{e: e, what: wasRemoved})
	}
}

// changed is called before until, cached or dirty of e change.
func (j *journal) changed(e *entry) {
	if j != nil {
		was := *e
		j.changes = append(j.changes, change{e: e, what: wasChanged, was: &was})
	}
}

// take returns the changes and forgets them.
func (j *journal) take() []change {
	changes := j.changes
	j.changes = nil
	return changes
}

// undo takes the changes back, the last first.
func (x *index) undo(changes []change) {
	log := x.log
	x.log = nil
	for i := len(changes) - 1; i >= 0; i-- {
		switch c := changes[i]; c.what {
		case wasInserted:
			x.remove(c.e)
		case wasRemoved:
			x.insert(c.e)
		case wasChanged:
			x.remove(c.e) // it may stand elsewhere in the heap
			c.e.until, c.e.cached, c.e.dirty = c.was.until, c.was.cached, c.was.dirty
			x.insert(c.e)
		}
	}
	x.log = log
}
