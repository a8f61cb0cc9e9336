package store

import (
	"math"
	"net/netip"

	"github.com/kadquic/kadquic/wire"
)

// admit inserts e if the quotas allow, dropping what is worth less.
func (x *index) admit(e *entry, t int64) wire.Code {
	crowd, fits := x.fits(e)
	if (!fits || len(crowd) > 0 || x.full(e)) && t >= x.swept+int64(sweepEvery) {
		x.swept = t
		x.sweep(t, math.MaxInt)
		crowd, fits = x.fits(e)
	}
	if !fits {
		return wire.CodeFull
	}
	var gone []*entry
	for x.full(e) {
		if len(x.order) == 0 || !x.before(x.order[0], e) {
			for _, g := range gone { // not enough of them: nobody goes
				x.insert(g)
			}
			return wire.CodeTooFar
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
	for _, c := range crowd {
		if c.index >= 0 {
			x.remove(c)
		}
	}
	return wire.CodeOK
}

// full reports whether the entries do not fit beside all that is held.
func (x *index) full(es ...*entry) bool {
	size := x.use.bytes
	for _, e := range es {
		size += int64(e.size)
	}
	return size > x.limits.Bytes || len(x.order)+len(es) > x.limits.Records
}

// fits reports whether the quotas of e's source and of its key allow it, and which
// of those under its key are to give way to it.
func (x *index) fits(e *entry) (crowd []*entry, ok bool) {
	if !e.from.fits(e, x.limits) {
		return nil, false
	}
	if !shared(e.slot.kind) {
		return nil, true
	}
	size, n := int64(e.size), 1
	for o := x.slots[e.slot]; o != nil; o = o.next {
		size += int64(o.size)
		n++
	}
	if size <= x.limits.KeyBytes && n <= x.limits.KeyRecords {
		return nil, true
	}
	return x.crowd(e, size, n)
}

// whom records under a shared key are counted by, for fairness: their source, or
// where that is exempt, their publisher.
type whom struct {
	source    netip.Prefix
	publisher wire.PeerID
}

func (e *entry) whom() whom {
	if s := e.from.account.source; s.IsValid() {
		return whom{source: s}
	}
	return whom{publisher: e.publisher}
}

// crowd names the records that give way when e makes n of that size under its key:
// always the worst of whoever has most there, so that nobody can push all others
// out. It is false when that is e itself.
func (x *index) crowd(e *entry, size int64, n int) (gone []*entry, ok bool) {
	list := make([]*entry, 0, n) // the better first
	placed := false
	for o := x.slots[e.slot]; o != nil; o = o.next {
		if !placed && x.better(e, o) {
			list, placed = append(list, e), true
		}
		list = append(list, o)
	}
	if !placed {
		list = append(list, e)
	}
	count := make(map[whom]int)
	for _, o := range list {
		count[o.whom()]++
	}
	for size > x.limits.KeyBytes || n > x.limits.KeyRecords {
		most, worst := 0, 0
		for i := len(list) - 1; i >= 0; i-- {
			if list[i] != nil && count[list[i].whom()] > most {
				most, worst = count[list[i].whom()], i
			}
		}
		o := list[worst]
		if o == e {
			return nil, false
		}
		gone = append(gone, o)
		list[worst] = nil
		count[o.whom()]--
		size -= int64(o.size)
		n--
	}
	return gone, true
}
