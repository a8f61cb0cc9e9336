package sim

import (
	"slices"
	"time"

	"github.com/kadquic/kadquic/internal/store"
	"github.com/kadquic/kadquic/routing"
)

// A node is one server, from its first join to its end.
type node struct {
	contact
	w      *World
	place  int // in World.alive; -1: dead
	born   time.Time
	joined bool
	table  *routing.Table[int32]
	store  *store.Memory
	dead   map[int32]struct{} // found not to answer; not dialled again

	newcomers []contact // in the table since the last hand-over
	looked    time.Time // own key
	busy      bool      // a refresh or republish is under way
}

// arrive lets a new node join.
func (w *World) arrive() {
	n := &node{
		contact: contact{Key: routing.RandomKey(routing.Key{}, 0, w.src), Addr: int32(len(w.nodes))},
		w:       w, place: len(w.alive), born: w.now(), dead: make(map[int32]struct{}),
	}
	n.table = routing.NewTable(n.Key, routing.TableOptions[int32]{Joined: n.met})
	n.store = store.NewMemory(n.Key, store.Limits{Bytes: 1 << 40, Records: 1 << 30, NeighbourBytes: 1 << 40, SourceBytes: 1 << 40})
	through := w.anyone()
	w.nodes = append(w.nodes, n)
	w.alive = append(w.alive, n.Addr)
	if w.o.Session > 0 {
		w.after(time.Duration(w.rnd.ExpFloat64()*float64(w.o.Session)), n.leave)
	}
	w.after(w.upTo(tick), n.tick)
	if through == nil {
		n.joined = true
		return
	}
	n.join(through.contact)
}

// leave ends a node without a word; another takes its place in the world.
func (n *node) leave() {
	w := n.w
	last := len(w.alive) - 1
	w.alive[n.place] = w.alive[last]
	w.nodes[w.alive[n.place]].place = n.place
	w.alive = w.alive[:last]
	n.place = -1
	w.nodes[n.Addr] = nil
	n.table, n.store, n.dead = nil, nil, nil
	w.arrive()
}

func (n *node) isAlive() bool { return n.place >= 0 }

// join finds a node's place as node.Bootstrap does: it looks up its own key and
// one of each range farther away than its neighbourhood (Kademlia §2.3).
func (n *node) join(through contact) {
	n.request(through, joining, sizePing, func(*node) {
		n.look(n.Key, joining, func(k *walk) {
			edge, found := n.Key, 0
			for c := range k.lookup.Closest() {
				edge, found = c.Key, found+1
			}
			if found < 2 && len(n.w.alive) > 1 {
				n.rejoin()
				return
			}
			n.looked = n.w.now()
			var ranges []routing.Key
			if found >= routing.DefaultK {
				ranges = slices.Collect(routing.Ranges(n.Key, edge, n.w.src))
			}
			n.lookAll(ranges, joining, func() { n.joined = true })
		})
	}, n.rejoin)
}

func (n *node) rejoin() {
	n.w.after(time.Second, func() {
		if through := n.w.anyone(); n.isAlive() && through != n {
			n.join(through.contact)
		}
	})
}

// sees notes that another node is alive.
func (n *node) sees(c contact) {
	if probe, ok := n.table.Seen(c, n.w.now()); ok {
		n.ping(probe)
	}
}

// tick runs a node's periodic work.
func (n *node) tick() {
	if !n.isAlive() {
		return
	}
	w := n.w
	w.after(tick, n.tick)
	for c := range n.table.Suspects(w.now()) {
		n.ping(c)
	}
	if n.joined && !n.busy {
		n.busy = true
		n.refresh(func() { n.republish(func() { n.busy = false }) })
	}
}

// refresh looks up a key in each bucket without a lookup in the last hour (Kademlia §2.3).
func (n *node) refresh(done func()) {
	stale := slices.Collect(n.table.Stale(n.w.now().Add(-time.Hour), n.w.src))
	n.lookAll(stale, refreshing, done)
}
