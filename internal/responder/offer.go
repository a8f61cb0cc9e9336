package responder

import (
	"time"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// refusedByClient says why a client refuses OFFER and STORE.
const refusedByClient = "a client stores nothing"

// serveOffer says which of the records that a peer holds it should send.
func (r *Responder) serveOffer(p Peer, id uint64, m wire.Offer, now time.Time) error {
	if !r.Host.IsServer() {
		return refuse(p, id, wire.CodeUnimplemented, refusedByClient)
	}
	if more := r.Host.OfferCost(len(m.Records)) - 1; !p.AllowRequests(now, more) {
		return refuse(p, id, wire.CodeBusy, "too many records offered")
	}
	suppresses := make([]bool, len(m.Records))
	r.Table.Each(len(suppresses), func(t *table, i int) {
		suppresses[i] = r.suppressesRepublish(t, p, m.Records[i].Key)
	})
	want := r.Host.Store().Offer(now, m.Records, func(i int) bool { return suppresses[i] })
	answer := wire.NewWanted(len(want))
	for i, w := range want {
		if w && m.Records[i].Kind.Known() { // a STORE of others would be refused
			answer.Set(i)
		}
	}
	return p.Reply(id, answer)
}

// suppressesRepublish reports whether the sender is a server and one of the k nearest of
// the key: its STORE reached the other holders too (Kademlia §2.5). No other peer may keep
// holders from republishing.
func (r *Responder) suppressesRepublish(t *table, p Peer, key routing.Key) bool {
	if !p.IsServer() {
		return false
	}
	var room [wire.MaxContacts]contact
	near, sender := t.AppendNearest(room[:0], key, r.K), p.Key()
	for i := len(near) - 1; i >= 0; i-- {
		if near[i].Key == sender {
			return true
		}
	}
	return false
}
