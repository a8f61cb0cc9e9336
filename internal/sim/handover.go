package sim

import (
	"slices"

	"github.com/kadquic/kadquic/routing"
)

// met is the table's notice of a new contact. Before it has joined, the node is the
// newcomer itself.
func (n *node) met(c contact) {
	if !n.joined || n.w.rules.Ranks < 0 {
		return
	}
	n.newcomers = append(n.newcomers, c)
	if len(n.newcomers) == 1 {
		n.w.after(n.w.rules.Debounce/2+n.w.upTo(n.w.rules.Debounce), n.welcome)
	}
}

// welcome hands over to the newcomers gathered, if they are neighbours.
func (n *node) welcome() {
	if !n.isAlive() {
		return
	}
	newcomers := slices.DeleteFunc(n.newcomers, func(c contact) bool {
		return n.Key.CommonPrefixLen(c.Key) < n.table.Complete()
	})
	n.newcomers = nil
	if len(newcomers) > 0 && n.store.Len() > 0 {
		n.pingSilent(func() { n.handOver(newcomers) })
	}
}

// pingSilent pings the neighbours that have been silent for long, and waits for the
// results. A dead neighbour nearer to a key would prevent the hand-over.
func (n *node) pingSilent(then func()) {
	var silent []contact
	if s := n.w.rules.Silence; s > 0 {
		silent = slices.Collect(n.table.Silent(n.w.now().Add(-s)))
	}
	out := len(silent)
	if out == 0 {
		then()
		return
	}
	settle := func() {
		if out--; out == 0 {
			then()
		}
	}
	for _, c := range silent {
		n.request(c, checking, sizePing, func(*node) { settle() }, settle)
	}
}

// handOver gives newcomers what they are among the k nearest of (Kademlia §2.5).
func (n *node) handOver(newcomers []contact) {
	out := make(shipments)
	for h := range n.store.All(n.w.now()) {
		if h.Cached {
			continue
		}
		for _, c := range newcomers {
			if rank, ok := n.table.Heir(h.Key, c.Key); ok && rank < n.w.rules.Ranks {
				out.add(c, h)
			}
		}
	}
	n.ship(out, handingOver)
}

// counts reports whether another node is among the k nearest of key: then the other
// holders got the record from it as well, and a republication can wait.
func (n *node) counts(other *node, key routing.Key) bool {
	_, ok := n.table.Heir(key, other.Key)
	return ok
}
