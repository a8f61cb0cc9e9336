package node

import (
	"errors"
	"net/netip"
	"time"

	"github.com/kadquic/kadquic/internal/replica"
	"github.com/kadquic/kadquic/internal/responder"
	"github.com/kadquic/kadquic/internal/search"
	"github.com/kadquic/kadquic/internal/store"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// newResponder makes the responder, which answers requests for contacts and records.
func (n *Node) newResponder() *responder.Responder {
	return responder.New(responder.Config{
		Self:      n.id,
		K:         n.config.K,
		Table:     n.routes,
		Host:      responderHost{n},
		Slack:     search.Holders(n.config.K) - n.config.K,
		MaxForged: search.MaxForged,
	})
}

// responderHost is the node as the responder sees it.
type responderHost struct{ n *Node }

func (h responderHost) IsServer() bool          { return h.n.mode() == wire.ModeServer }
func (h responderHost) Store() store.Store      { return h.n.values }
func (h responderHost) OwnRecord() *wire.Signed { return h.n.ownRecord() }
func (h responderHost) OfferCost(n int) int     { return replica.OfferCost(n) }

func (h responderHost) RecordOf(id wire.PeerID, now time.Time) *wire.Signed {
	return h.n.recordOf(id, now)
}

func (h responderHost) Check(s *wire.Signed, now time.Time) responder.Verdict {
	err := h.n.search.Verify(s, now)
	if err == nil {
		return responder.Verdict{}
	}
	return responder.Verdict{
		Code:   search.VerifyCode(err),
		Forged: errors.Is(err, wire.ErrBadSignature),
		Slow:   errors.Is(err, search.ErrOverdue),
	}
}

// asker is the sender of a request, as the responder sees it.
type asker struct{ *link }

func (a asker) ID() wire.PeerID    { return a.id }
func (a asker) Key() routing.Key   { return a.key }
func (a asker) Source() netip.Addr { return a.addr.Addr() }

func (a asker) AllowRequests(now time.Time, n int) bool {
	return a.requests == nil || a.requests.AllowN(now, n)
}

func (a asker) AllowStore(now time.Time, bytes int) bool {
	return a.stores == nil || a.stores.AllowN(now, bytes)
}
