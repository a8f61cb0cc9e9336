package node

import (
	"time"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// serveOffer says which of the records that a peer holds it should send.
func (l *link) serveOffer(id uint64, m wire.Offer, now time.Time) error {
	n := l.node
	if n.mode() == wire.ModeClient {
		return l.Refuse(id, wire.CodeUnimplemented, "a client stores nothing")
	}
	if more := offerCost(len(m.Records)) - 1; l.requests != nil && !l.requests.AllowN(now, more) {
		return l.Refuse(id, wire.CodeBusy, "too many records offered")
	}
	quiets := make([]bool, len(m.Records))
	for i := 0; i < len(quiets); i += lockedKeys {
		n.routes.Locked(func(t *table) {
			for j := i; j < min(i+lockedKeys, len(quiets)); j++ {
				quiets[j] = l.quiets(t, m.Records[j].Key)
			}
		})
	}
	want := n.values.Offer(now, m.Records, func(i int) bool { return quiets[i] })
	answer := wire.NewWanted(len(want))
	for i, w := range want {
		if w && m.Records[i].Kind.Known() { // the holder would refuse others
			answer.Set(i)
		}
	}
	return l.Reply(id, answer)
}

// quiets reports whether a record that comes from this peer need not be
// republished by us: it is a server that we count among the k nearest of the
// key, so it tells the others, too. Nobody else can silence the holders.
func (l *link) quiets(t *table, key routing.Key) bool {
	if !l.IsServer() {
		return false
	}
	var room [wire.MaxContacts]contact
	near := t.AppendNearest(room[:0], key, l.node.config.K)
	for i := len(near) - 1; i >= 0; i-- { // usually a rank like any other
		if near[i].Key == l.key {
			return true
		}
	}
	return false
}
