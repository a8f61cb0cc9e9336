package sim

import (
	"slices"
	"time"

	"github.com/kadquic/kadquic/internal/store"
	"github.com/kadquic/kadquic/routing"
)

// republish brings what is due to the k nearest (Kademlia §2.5).
func (n *node) republish(done func()) {
	due := n.due()
	if len(due) == 0 {
		done()
		return
	}
	n.lookHome(func() {
		var keys []routing.Key // keys whose k nearest nodes are unknown
		var far []store.Held
		var room [routing.DefaultK]contact
		out := make(shipments)
		for _, h := range due {
			if !n.table.Covers(h.Key) {
				keys, far = append(keys, h.Key), append(far, h)
				continue
			}
			holders, _ := n.table.AppendHolders(room[:0], h.Key)
			for _, c := range holders {
				out.add(c, h)
			}
			n.keep(n.w.ledger.of(h.Key), false) // which notes that it is done
		}
		n.sweep(routing.NewSweep[int32](keys, routing.DefaultK), func(to contact, i int) {
			if to.Addr == n.Addr {
				n.keep(n.w.ledger.of(far[i].Key), false)
				return
			}
			out.add(to, far[i])
		}, func() {
			n.ship(out, republishing)
			done()
		})
	})
}

// due returns the records to republish now. If one is due, it adds those that are due
// soon, and leaves out records for which this node is not responsible.
func (n *node) due() (due []store.Held) {
	w, now := n.w, n.w.now()
	if w.rules.Republish < 0 {
		return nil
	}
	first := time.Hour
	for h := range n.store.All(now) {
		wait := store.RepublishAt(n.Key, h, n.born, w.rules.Republish).Sub(now)
		if h.Cached || wait > max(w.rules.Early, 0) {
			continue
		}
		if n.table.Closer(h.Key) < routing.DefaultK {
			due = append(due, h)
			first = min(first, wait)
		}
	}
	if first > 0 {
		return nil
	}
	return due
}

// sweep looks up the responsible nodes of the keys, and passes them to plan.
func (n *node) sweep(s *routing.Sweep[int32], plan func(contact, int), done func()) {
	target, ok := s.Next()
	if !ok {
		for c, keys := range s.Plan() {
			for _, i := range keys {
				plan(c, i)
			}
		}
		done()
		return
	}
	n.look(target, republishing, func(k *walk) {
		s.Found(target, slices.Collect(k.lookup.Closest()))
		n.sweep(s, plan, done)
	})
}

// lookHome looks up this node's key if the last time was an hour ago. Then the table
// knows the responsible nodes of keys nearby, without further lookups (Kademlia §2.5).
func (n *node) lookHome(then func()) {
	if n.w.now().Sub(n.looked) < time.Hour {
		then()
		return
	}
	n.looked = n.w.now()
	n.look(n.Key, republishing, func(*walk) { then() })
}
