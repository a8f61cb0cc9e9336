package store

import (
	"math"

	"github.com/kadquic/kadquic/wire"
)

// admit inserts e if the quotas allow, and drops the entries that give way to it. If e takes the
// place of an older version, old is that, already removed; otherwise nil.
func (x *index) admit(e, old *entry, t int64) wire.Code {
	displaced, fits := x.fits(e, old)
	if (!fits || len(displaced) > 0 || x.full(e)) && t >= x.swept+int64(sweepEvery) {
		x.swept = t
		x.sweep(t, math.MaxInt)
		displaced, fits = x.fits(e, old)
	}
	if !fits {
		return wire.CodeFull
	}
	var gone []*entry
	for x.full(e) {
		if len(x.order) == 0 || !x.givesWay(x.order[0], e) {
			for _, g := range gone { // they free too little: keep all
				x.insert(g)
			}
			if e.cached {
				return wire.CodeTooFar
			}
			return wire.CodeFull
		}
		g := x.order[0]
		x.remove(g)
		gone = append(gone, g)
	}
	for _, g := range gone {
		if tomb := g.grave(); tomb != nil && !x.full(tomb, e) {
			x.insert(tomb)
		}
	}
	x.insert(e)
	for _, d := range displaced {
		if d.index >= 0 {
			x.remove(d)
		}
	}
	return wire.CodeOK
}

// fits reports whether the quotas of e's source and of its key allow it, and which
// entries under its key give way to it.
func (x *index) fits(e, old *entry) (displaced []*entry, ok bool) {
	if !e.from.fits(e, x.limits) || x.use.overShare(e, x.limits) {
		return nil, false
	}
	return x.fitsKey(e, old)
}

// givesWay reports whether o, which is held, gives way to e when the store is full. Only cached
// copies and remembered sequence numbers do. Another record has been acknowledged: it leaves
// when it ends, or when its publisher replaces it.
func (x *index) givesWay(o, e *entry) bool {
	return (o.cached || o.tomb) && x.before(o, e)
}

// full reports whether the entries do not fit beside all that is held.
func (x *index) full(es ...*entry) bool {
	size := x.use.bytes
	for _, e := range es {
		size += int64(e.size)
	}
	return size > x.limits.Bytes || len(x.order)+len(es) > x.limits.Records
}
