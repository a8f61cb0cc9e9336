package lookup

import (
	"context"
	"net/netip"
	"time"

	"github.com/kadquic/kadquic/internal/peerref"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// The types of package routing, with the contacts of a node.
type (
	Contact = peerref.Contact
	Query   = routing.Query[*peerref.Ref]
	Options = routing.LookupOptions[*peerref.Ref]
)

// A Peer is a peer that this node is connected to.
type Peer interface {
	ID() wire.PeerID
	RemoteAddr() netip.AddrPort
}

// A Table is the routing table.
type Table interface {
	// Nearest appends to dst up to count live contacts, the nearest to target first.
	Nearest(dst []Contact, target routing.Key, count int) []Contact
	// Looked notes that a lookup of target has ended.
	Looked(target routing.Key, now time.Time)
}

// A Host is the node that looks up. Goroutines share it.
type Host interface {
	// Running returns an error before the node is started and after it is closed.
	Running() error
	// IsServer reports whether the node itself counts among the k nearest.
	IsServer() bool
	// IsConnected reports whether requests to the peer need no dial.
	IsConnected(id wire.PeerID) bool
	// Request sends a request and returns the reply. A wire.Error that the peer replies is
	// an error, which wraps its wire.Code. The Peer is valid if the error is nil.
	Request(ctx context.Context, id wire.PeerID, m wire.Message) (Peer, wire.Message, error)
	// Refused is the error of a peer that answers this code for a record.
	Refused(id wire.PeerID, code wire.Code) error
	// AddReferral enters a contact that the peer at from has named into the peerstore.
	AddReferral(from netip.Addr, c wire.Contact, now time.Time)
	// Bootstrap connects to the bootstrap peers. Lookups call it while the table is empty.
	Bootstrap(ctx context.Context) error
	// Timeout and Patience are the functions of Options.
	Timeout(Query) time.Duration
	Patience(Query) time.Duration
	// Observe returns the observer of a lookup that begins, nil if none is wanted.
	Observe(ctx context.Context, kind string, target routing.Key) Observer
}

// An Observer hears of the steps of one lookup. Its methods are called from many
// goroutines and must not block. cpl is how many bits the peer's key shares with the target.
type Observer interface {
	Query(q Query, cpl int)
	Answer(q Query, cpl int, rtt time.Duration, closer int, value bool)
	Fail(q Query, cpl int, err error)
	Done(found, queries, failed int, took time.Duration)
}

// A Config says how a Runner works. All fields are required.
type Config struct {
	Self     wire.PeerID
	K, Alpha int
	Refs     *peerref.Refs
	Table    Table
	Host     Host

	// Closing ends when the node closes.
	Closing context.Context
	// Unreachable is the error that Runner wraps when no peer has answered.
	Unreachable error
}
