package join

import (
	"context"
	"net/netip"
	"time"

	"github.com/kadquic/kadquic/internal/lookup"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// A Table is the routing table. Goroutines share it.
type Table interface {
	// HasLive reports whether any contact is live.
	HasLive() bool
	// IsLive reports whether a peer is in the table and has left no request unanswered.
	IsLive(key routing.Key) bool
	// Stale returns a random key of each bucket that no lookup has touched since before,
	// and the depth of the complete subtree.
	Stale(before time.Time) (targets []routing.Key, depth int)
}

// Lookups run lookups. Goroutines share it.
type Lookups interface {
	// Nodes looks up the k nodes nearest to key (Kademlia §2.3). kind names the lookup in
	// traces.
	Nodes(ctx context.Context, kind string, key routing.Key, seeds ...lookup.Contact) (*lookup.Outcome, error)
}

// A Host is the node that joins. Goroutines share it.
type Host interface {
	// IsServer reports whether this node belongs in routing tables.
	IsServer() bool
	// Meet connects to a bootstrap peer, by its address and all others that are known. It
	// returns an error for a client, through which no node can join.
	Meet(ctx context.Context, t Target) error
	// AddUserAddr notes an address that the user has given for a peer.
	AddUserAddr(id wire.PeerID, addr wire.Addr)
	// Connect connects to a peer at its known addresses.
	Connect(ctx context.Context, id wire.PeerID) (Peer, error)
	// IsConnected reports whether there is a connection to the peer.
	IsConnected(id wire.PeerID) bool
	// Connections counts the connections.
	Connections() int
	// DialTimeout is how long an operation waits for the connection to a peer that is not
	// connected.
	DialTimeout(id wire.PeerID) time.Duration

	// AddNearbyAddrs notes the addresses at which a peer was discovered. A new one ends the
	// pause after a failed dial.
	AddNearbyAddrs(id wire.PeerID, at []netip.AddrPort)
	// ListenAddrs are the sockets of this node.
	ListenAddrs() []netip.AddrPort

	// Met is called when a bootstrap peer has answered, before the node looks for its
	// position. It may take a while.
	Met(ctx context.Context)
	// Joined is called at the end of each attempt to join; met is false if no bootstrap
	// peer has answered.
	Joined(met bool)
	// Remember saves the peers known.
	Remember() error
}

// A Peer is a connected peer.
type Peer interface {
	RemoteAddr() netip.AddrPort
	// IsServer reports whether it belongs in routing tables.
	IsServer() bool
}

// A Discovery finds peers without asking any: those on the local network, say. See
// node.Discovery.
type Discovery interface {
	Discover(ctx context.Context, self wire.PeerID, at func() []netip.AddrPort, found func(wire.PeerID, []netip.AddrPort)) error
}
