package sim

import (
	"slices"
	"time"

	"github.com/kadquic/kadquic/routing"
)

// A walk is one lookup under way.
type walk struct {
	n      *node
	target routing.Key
	why    purpose
	lookup *routing.Lookup[int32]
	record *record // to store, or to find; nil: neither
	done   func(*walk)
	found  bool // the record
	ended  bool
}

// look finds the k nodes nearest to target.
func (n *node) look(target routing.Key, why purpose, done func(*walk)) {
	n.walk(&walk{target: target, why: why, done: done}, routing.LookupOptions[int32]{})
}

// lookAll looks up one target after the other.
func (n *node) lookAll(targets []routing.Key, why purpose, done func()) {
	if len(targets) == 0 {
		done()
		return
	}
	n.look(targets[0], why, func(*walk) { n.lookAll(targets[1:], why, done) })
}

func (n *node) walk(k *walk, o routing.LookupOptions[int32]) {
	w := n.w
	k.n = n
	o.Self, o.CountSelf = n.contact, true
	o.Timeout = func(routing.Query[int32]) time.Duration { return soft }
	w.room = n.table.AppendNearest(w.room[:0], k.target, 2*routing.DefaultK)
	k.lookup = routing.NewLookup(k.target, slices.Values(w.room), o)
	k.step()
}

// step sends what the lookup wants sent, and notices its end.
func (k *walk) step() {
	if k.ended || !k.n.isAlive() {
		return
	}
	w, now := k.n.w, k.n.w.now()
	for q, ok := k.lookup.Next(now); ok; q, ok = k.lookup.Next(now) {
		k.send(q)
	}
	if k.lookup.Done(now) {
		k.ended = true
		k.n.table.Looked(k.target, w.now())
		if k.done != nil {
			k.done(k)
		}
	}
}

func (k *walk) send(q routing.Query[int32]) {
	n, w := k.n, k.n.w
	bytes := sizeFind
	if q.Store {
		bytes = sizeAnswer + k.record.signed.Size()
	}
	if w.nodes[q.Addr] == nil { // only then does time alone change something
		w.after(soft, k.step)
	}
	n.request(q.Contact, k.why, bytes, func(p *node) {
		var r routing.Reply[int32]
		if q.Store {
			p.keep(k.record, false)
		} else if k.record != nil {
			r.Value = p.holds(k.record)
		}
		if k.ended {
			return
		}
		w.room = p.table.AppendNearest(w.room[:0], k.target, routing.DefaultK)
		r.Closer = w.room
		bytes := len(r.Closer)*sizeContact + sizeAnswer
		if r.Value {
			bytes += k.record.signed.Size()
			k.found = true
		}
		w.cost(k.why).Bytes += bytes
		k.lookup.Answer(q.Key, r)
		k.step()
	}, func() {
		k.lookup.Fail(q.Key)
		k.step()
	})
}

// put publishes a record from a random node.
func (w *World) put(r *record) {
	n := w.joined()
	if n == nil {
		w.after(time.Second, func() { w.put(r) })
		return
	}
	n.walk(&walk{target: r.key, why: putting, record: r, done: func(k *walk) {
		r.put = true
		for c := range k.lookup.Closest() {
			if c.Addr == n.Addr {
				n.keep(r, false)
			}
		}
	}}, routing.LookupOptions[int32]{Store: 3})
}

// joined returns a random node that has joined, nil if none was found.
func (w *World) joined() *node {
	for range 100 {
		if n := w.anyone(); n != nil && n.joined {
			return n
		}
	}
	return nil
}

// getOften gets a random record at a random node, and sets the next get.
func (w *World) getOften() {
	w.after(time.Duration(w.rnd.ExpFloat64()*float64(time.Hour)/float64(w.o.Gets)), w.getOften)
	r := &w.ledger.records[w.rnd.IntN(len(w.ledger.records))]
	n := w.joined()
	if n == nil || !r.put || r.over(w.now()) {
		return
	}
	ended := func(found bool) {
		w.report.Gets++
		if found {
			w.report.Found++
		} else if !r.lost {
			w.report.Missed++
		}
	}
	if n.holds(r) {
		ended(true)
		return
	}
	n.walk(&walk{target: r.key, why: getting, record: r, done: func(k *walk) { ended(k.found) }},
		routing.LookupOptions[int32]{Quorum: 1, Patient: true})
}
