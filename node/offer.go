package node

import (
	"time"

	"github.com/kadquic/kadquic/internal/replica"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// serveOffer says which of the records that a peer holds it should send.
func (l *link) serveOffer(id uint64, m wire.Offer, now time.Time) error {
	n := l.node
	if n.mode() == wire.ModeClient {
		return l.Refuse(id, wire.CodeUnimplemented, "a client stores nothing")
	}
	if more := replica.OfferCost(len(m.Records)) - 1; l.requests != nil && !l.requests.AllowN(now, more) {
		return l.Refuse(id, wire.CodeBusy, "too many records offered")
	}
	suppresses := make([]bool, len(m.Records))
	n.routes.Each(len(suppresses), func(t *table, i int) {
		suppresses[i] = l.suppressesRepublish(t, m.Records[i].Key)
	})
	want := n.values.Offer(now, m.Records, func(i int) bool { return suppresses[i] })
	answer := wire.NewWanted(len(want))
	for i, w := range want {
		if w && m.Records[i].Kind.Known() { // the holder would refuse others
			answer.Set(i)
		}
	}
	return l.Reply(id, answer)
}

// suppressesRepublish reports whether the sender is a server and one of the k nearest of
// the key: its STORE reached the other holders too (Kademlia §2.5). No other peer may keep
// holders from republishing.
func (l *link) suppressesRepublish(t *table, key routing.Key) bool {
	if !l.IsServer() {
		return false
	}
	var room [wire.MaxContacts]contact
	near := t.AppendNearest(room[:0], key, l.node.config.K)
	for i := len(near) - 1; i >= 0; i-- {
		if near[i].Key == l.key {
			return true
		}
	}
	return false
}
