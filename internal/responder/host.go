package responder

import (
	"net/netip"
	"time"

	"github.com/kadquic/kadquic/internal/peerref"
	"github.com/kadquic/kadquic/internal/store"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

type (
	contact = peerref.Contact
	table   = routing.Table[*peerref.Ref]
)

// A Table is the routing table. Goroutines share it.
type Table interface {
	// Nearest appends to dst up to count live contacts, the nearest to target first.
	Nearest(dst []contact, target routing.Key, count int) []contact
	// Contains reports whether a peer is in the table.
	Contains(key routing.Key) bool
	// Each calls f for 0 … n-1. The table is locked during f, which must be brief.
	Each(n int, f func(t *table, i int))
}

// A Peer is the sender of a request, on one of its connections. Goroutines share it.
type Peer interface {
	ID() wire.PeerID
	Key() routing.Key
	// Source is the address that the peer sends from; invalid if a relay forwards its packets.
	Source() netip.Addr
	// IsServer reports whether the peer belongs in routing tables.
	IsServer() bool
	// Reply sends the answer to the request with this id.
	Reply(id uint64, m wire.Message) error
	// AllowRequests reports whether the peer may send n further requests now, and AllowStore
	// whether it may store so many bytes.
	AllowRequests(now time.Time, n int) bool
	AllowStore(now time.Time, bytes int) bool
}

// A Host is the node that answers. Goroutines share it.
type Host interface {
	// IsServer reports whether this node holds records for others.
	IsServer() bool
	// Store returns the records that this node holds.
	Store() store.Store
	// OwnRecord returns this node's peer record, nil if it has none.
	OwnRecord() *wire.Signed
	// RecordOf returns the verified record of a peer, nil if it is not known.
	RecordOf(id wire.PeerID, now time.Time) *wire.Signed
	// Check verifies a record that a peer wants to have stored.
	Check(s *wire.Signed, now time.Time) Verdict
	// OfferCost returns how many requests an OFFER of n records counts for.
	OfferCost(n int) int
}

// A Verdict is the result of a check of one record.
type Verdict struct {
	Code   wire.Code // CodeOK if the record is good
	Forged bool      // its signature is wrong
	Slow   bool      // the check took too long: one such record is enough
}

// refuse answers a request with an error.
func refuse(p Peer, id uint64, code wire.Code, why string) error {
	return p.Reply(id, wire.Error{Code: code, Message: why})
}
