package replica

import (
	"time"

	"github.com/kadquic/kadquic/internal/peerref"
	"github.com/kadquic/kadquic/routing"
)

type (
	contact = peerref.Contact
	table   = routing.Table[*peerref.Ref]
)

// A Table is the routing table. Goroutines share it.
type Table interface {
	// Len returns the number of contacts.
	Len() int
	// Closer counts the contacts that are nearer to key than this node.
	Closer(key routing.Key) int
	// IsNeighbour reports whether key belongs to a live contact in the complete subtree.
	IsNeighbour(key routing.Key) bool
	// Stale returns a random key of each bucket that no lookup has touched since before,
	// and the depth of the complete subtree.
	Stale(before time.Time) (targets []routing.Key, depth int)
	// Silent returns the contacts of the complete subtree that have said nothing since before.
	Silent(before time.Time) []contact
	// Each calls f for 0 … n-1. The table is locked during f, which must be brief.
	Each(n int, f func(t *table, i int))
}
