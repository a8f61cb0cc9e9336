package search

import (
	"github.com/kadquic/kadquic/internal/lookup"
	"github.com/kadquic/kadquic/wire"
)

// A Result is a verified record and the node that had it.
type Result struct {
	Record *wire.Signed
	From   wire.PeerID
	Peer   lookup.Peer // From; nil if that is this node
}
