package sim

import (
	"cmp"
	"maps"
	"slices"

	"github.com/kadquic/kadquic/internal/store"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// shipments are records by the node they go to.
type shipments map[contact][]store.Held

func (s shipments) add(to contact, h store.Held) { s[to] = append(s[to], h) }

// ship delivers to all at once.
func (n *node) ship(out shipments, why purpose) {
	byNumber := func(a, b contact) int { return cmp.Compare(a.Addr, b.Addr) } // the same seed, the same day
	for _, to := range slices.SortedFunc(maps.Keys(out), byNumber) {
		for chunk := range slices.Chunk(out[to], wire.MaxOffer) {
			n.offer(to, chunk, why)
		}
	}
}

// maxBatch is how many records go into one STORE.
const maxBatch = 64

// offer asks a node which of the records it lacks, and sends those.
func (n *node) offer(to contact, held []store.Held, why purpose) {
	w := n.w
	n.request(to, why, sizeOffer+len(held)*sizeOffered, func(p *node) {
		cost := w.cost(why)
		cost.Offered += len(held)
		cost.Bytes += sizeAnswer + (len(held)+7)/8
		for batch := range slices.Chunk(p.offered(n, held), maxBatch) {
			bytes := sizeAnswer
			for _, r := range batch {
				bytes += r.signed.Size()
			}
			n.request(to, why, bytes, func(p *node) {
				cost.Sent += len(batch)
				cost.Bytes += sizeAnswer + len(batch)
				for _, r := range batch {
					p.keep(r, !p.counts(n, r.key))
				}
			}, func() {})
		}
	}, func() {})
}

// offered returns which of the records that another node holds this one wants.
func (n *node) offered(by *node, held []store.Held) (want []*record) {
	names := make([]wire.Offered, len(held))
	for i, h := range held {
		names[i] = wire.Offered{Kind: h.Kind, Key: h.Key, Print: h.Print}
	}
	suppresses := func(i int) bool { return n.counts(by, held[i].Key) }
	for i, lacks := range n.store.Offer(n.w.now(), names, suppresses) {
		if lacks {
			want = append(want, n.w.ledger.of(held[i].Key))
		}
	}
	return want
}

// keep stores a record. Beyond the k nearest it is a cached copy (Kademlia §2.3).
func (n *node) keep(r *record, noSuppress bool) {
	now := n.w.now()
	nearer := n.table.Closer(r.key)
	n.store.Put(now, []store.Item{{
		Record:     r.signed,
		NoSuppress: noSuppress,
		Cached:     nearer > routing.DefaultK,
		Life:       store.CacheLife(kind, r.signed.Record.Expiry.Sub(now), nearer, routing.DefaultK),
	}})
}

func (n *node) holds(r *record) bool { return n.store.Has(n.w.now(), r.signed) }
