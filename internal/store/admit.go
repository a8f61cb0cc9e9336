package store

import "github.com/kadquic/kadquic/wire"

// admit inserts e if the quotas allow, dropping what is worth less.
func (m *Memory) admit(e *entry, t int64) wire.Code {
	fits := m.fits(e)
	if (!fits || m.full(e)) && t >= m.swept+int64(sweepEvery) {
		m.swept = t
		m.sweep(t)
		fits = m.fits(e)
	}
	if !fits {
		return wire.CodeFull
	}
	var gone []*entry
	for m.full(e) {
		if len(m.order) == 0 || !m.order[0].before(e) {
			for _, g := range gone { // not enough of them: nobody goes
				m.insert(g)
			}
			return wire.CodeTooFar
		}
		g := m.order[0]
		m.remove(g)
		gone = append(gone, g)
	}
	for _, g := range gone {
		if tomb := g.tomb(); tomb != nil && !m.full(tomb, e) {
			m.insert(tomb)
		}
	}
	m.insert(e)
	if shared(e.slot.kind) {
		m.trim(e.slot)
	}
	return wire.CodeOK
}

// full reports whether the entries do not fit beside all that is held.
func (m *Memory) full(es ...*entry) bool {
	size := m.use.bytes
	for _, e := range es {
		size += e.size
	}
	return size > m.limits.Bytes || len(m.order)+len(es) > m.limits.Records
}

// fits reports whether the quotas of e's source and of its key allow it: whether
// it is among the best of its slot that fit.
func (m *Memory) fits(e *entry) bool {
	if !m.use.fits(e, m.limits) {
		return false
	}
	if !shared(e.slot.kind) {
		return true
	}
	size, n := e.size, 1
	for o := m.slots[e.slot]; o != nil && wire.Better(o.record, e.record); o = o.next {
		size += o.size
		n++
	}
	return size <= m.limits.KeyBytes && n <= m.limits.KeyRecords
}

// trim drops the worst of a slot until its quota holds.
func (m *Memory) trim(s slot) {
	size, n := int64(0), 0
	for o := m.slots[s]; o != nil; {
		next := o.next
		size += o.size
		n++
		if size > m.limits.KeyBytes || n > m.limits.KeyRecords {
			m.remove(o)
		}
		o = next
	}
}
