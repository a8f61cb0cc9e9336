package node

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/internal/join"
	"github.com/kadquic/kadquic/internal/peerkey"
	"github.com/kadquic/kadquic/internal/store"
	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

// Mode says whether a node serves the network or only uses it.
type Mode = wire.Mode

const (
	// ModeAuto is server until the node knows that no peer can reach it, and then client
	// until a peer does: see [Node.Reachability]. It is the zero value, and for Config only.
	ModeAuto = wire.ModeUnknown
	// ModeServer answers requests, stores records and is kept in routing tables.
	ModeServer = wire.ModeServer
	// ModeClient only sends requests: no routing table keeps it and it stores nothing.
	ModeClient = wire.ModeClient
)

// Config describes a node. The zero value works: a fresh identity, alone on the
// network "main" until a peer connects, listening on any free UDP port.
type Config struct {
	// Key is the node's identity. If nil, a fresh one. See [quic.LoadOrCreateKey].
	Key ed25519.PrivateKey

	// Network is the name of the network. Nodes of different networks cannot
	// connect to each other. If empty, "main".
	Network string

	// Mode is ModeAuto if zero.
	Mode Mode

	// Listen is where to listen: /ip4/…/udp/…/quic-v1 or /ip6/…; port 0 is any
	// free port. One socket per address serves all connections; 0.0.0.0 and ::
	// on one port share one. If nil, one dual-stack socket on any free port.
	Listen []ma.Multiaddr

	// PacketConns are sockets to use instead of Listen, closed with the node: a
	// simulated network plugs in here. A socket with the method
	// OpenPort() (net.PacketConn, error) can open more sockets on the same host, which
	// the node uses for hole punching.
	PacketConns []net.PacketConn

	// Bootstrap are peers through which to join, each with its /p2p/ID. If nil,
	// the node waits for others to connect.
	Bootstrap []ma.Multiaddr

	// Discovery finds peers nearby, to which the node then connects, and announces the
	// node to them. If nil, there is no discovery.
	Discovery Discovery

	// NoPortMapping keeps the node from requesting port mappings for its sockets from
	// the network's router, by PCP, NAT-PMP and UPnP, and from renewing them while it
	// runs. Clients never request one, nor does a node for sockets on loopback or IPv6
	// only.
	NoPortMapping bool

	// NoRelay keeps the node from relaying for others. By default a server relays, within
	// limits, for peers that cannot be reached: it forwards their packets, which it
	// cannot read.
	NoRelay bool

	// Admit keeps strangers out of a private network: a peer for which it
	// returns an error is refused within the handshake. If nil, every peer is
	// admitted. It is called from many goroutines. Nodes of a private network cannot
	// test their reachability, because a dial-back comes from an unknown key: give
	// ModeClient to nodes that no peer can reach.
	Admit func(wire.PeerID) error

	// Agent is the name that the node tells other peers. If empty, "kadquic".
	Agent string

	// K is the replication factor and the size of a k-bucket (Kademlia §2.1).
	// If zero, 20. All nodes of a network should agree.
	K int

	// Alpha bounds the requests that one lookup has in flight (Kademlia §2.3).
	// If zero, 3, or K if that is less.
	Alpha int

	// RPCTimeout bounds one request to one peer, which usually ends far sooner:
	// deadlines adapt to the round-trip times measured. If zero, 5 seconds.
	RPCTimeout time.Duration

	// RefreshInterval is how long a bucket may go without a lookup in its range
	// (Kademlia §2.3). If zero, 1 hour. If negative, never refreshed.
	RefreshInterval time.Duration

	// RepublishInterval is how long a record may go until one of the k nearest to its
	// key sends it to the others again (Kademlia §2.5). Each adds up to a quarter at
	// random, so that usually only one of them republishes. If zero, 1 hour. If
	// negative, this node neither republishes nor hands over the records it holds.
	RepublishInterval time.Duration

	// MaxConnections bounds the connections accepted; 64 more may be dialled.
	// If zero, 512.
	MaxConnections int

	// RecordTTL is the life of a record put without one, at most 24 hours.
	// If zero, 24 hours.
	RecordTTL time.Duration

	// Data is a directory, created if it does not exist, in which the node keeps one
	// file, node.db: the records it holds, its publications, and the peers it knows.
	// With it, a node resumes after a restart or a crash without a bootstrap list. A
	// record is acknowledged when it is on the disk. Only one process can have the file
	// open. It does not contain the identity. If empty, all state is in memory and is
	// lost when the node ends.
	Data string

	// StoreBytes and StoreRecords bound the records held for others.
	// If zero, 64 MiB and 100,000.
	StoreBytes   int64
	StoreRecords int

	// Namespaces are the rules for records whose names begin "/NAME/", by NAME.
	// If nil, there are none.
	Namespaces map[string]Namespace

	// Logger receives messages for an operator. If nil, nothing is logged.
	Logger *slog.Logger

	// Trace observes every lookup and peer of the node. If nil, there is no trace.
	// See [WithTrace] for one operation.
	Trace *Trace
}

// maxInterval bounds intervals, so that additions to them do not overflow.
const maxInterval = 365 * 24 * time.Hour

// withDefaults returns c with every zero field given its documented value.
func (c Config) withDefaults() (Config, error) {
	if c.Key == nil {
		key, err := quic.GenerateKey()
		if err != nil {
			return c, err
		}
		c.Key = key
	}
	if err := peerkey.Check(c.Key); err != nil {
		return c, fmt.Errorf("node: identity: %w", err)
	}
	if c.Mode > ModeClient {
		return c, fmt.Errorf("node: unknown mode %d", c.Mode)
	}
	if len(c.Listen) > 0 && len(c.PacketConns) > 0 {
		return c, errors.New("node: give Listen or PacketConns, not both")
	}
	if slices.Contains(c.PacketConns, nil) {
		return c, errors.New("node: a nil socket in PacketConns")
	}
	defaultTo(&c.Network, "main")
	defaultTo(&c.Agent, "kadquic")
	defaultTo(&c.K, 20)
	defaultTo(&c.Alpha, min(3, c.K))
	defaultTo(&c.RPCTimeout, 5*time.Second)
	defaultTo(&c.RefreshInterval, time.Hour)
	defaultTo(&c.RepublishInterval, time.Hour)
	defaultTo(&c.MaxConnections, 512)
	defaultTo(&c.RecordTTL, wire.MaxTTL)
	defaultTo(&c.StoreBytes, 64<<20)
	defaultTo(&c.StoreRecords, 100_000)
	switch {
	case c.K < 1 || c.K > wire.MaxContacts:
		return c, fmt.Errorf("node: K is %d, want 1 to %d", c.K, wire.MaxContacts)
	case c.Alpha < 1 || c.Alpha > c.K:
		return c, fmt.Errorf("node: Alpha is %d, want 1 to K, %d", c.Alpha, c.K)
	case c.RPCTimeout < 0 || c.MaxConnections < 0 || c.StoreBytes < 0 || c.StoreRecords < 0:
		return c, errors.New("node: RPCTimeout, MaxConnections, StoreBytes and StoreRecords must not be negative")
	case c.RPCTimeout > time.Hour || c.RefreshInterval > maxInterval || c.RepublishInterval > maxInterval:
		return c, fmt.Errorf("node: RPCTimeout over 1h, or RefreshInterval or RepublishInterval over %v", maxInterval)
	case c.MaxConnections > 1<<20:
		return c, fmt.Errorf("node: MaxConnections is %d, want at most %d", c.MaxConnections, 1<<20)
	case c.RecordTTL < time.Second || c.RecordTTL > wire.MaxTTL:
		return c, fmt.Errorf("node: RecordTTL is %v, want 1s to %v", c.RecordTTL, wire.MaxTTL)
	case len(c.Agent) > wire.MaxAgent:
		return c, fmt.Errorf("node: Agent of %d bytes, want at most %d", len(c.Agent), wire.MaxAgent)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

func (c Config) storeLimits() store.Limits {
	return store.Limits{Bytes: c.StoreBytes, Records: c.StoreRecords}
}

func defaultTo[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// splitBootstrap checks a bootstrap list before anything is dialled.
func splitBootstrap(peers []ma.Multiaddr) ([]join.Target, error) {
	targets := make([]join.Target, len(peers))
	for i, p := range peers {
		var err error
		if targets[i], err = splitTarget(p); err != nil {
			return nil, fmt.Errorf("bootstrap: %w", err)
		}
	}
	return targets, nil
}

// splitTarget parses an address that a user gives, which must end in the peer's ID.
func splitTarget(p ma.Multiaddr) (join.Target, error) {
	if wire.IsCircuit(p) {
		return join.Target{}, fmt.Errorf("address %q goes by a relay: what joins a network is the relay's own address, up to /p2p-circuit: %w", p, wire.ErrAddr)
	}
	addr, id, err := wire.SplitPeer(p)
	if err != nil {
		return join.Target{}, err
	}
	if id.IsZero() {
		return join.Target{}, fmt.Errorf("address %q names no peer: it must end in /p2p/ and the peer's ID, as the peer prints it", p)
	}
	if addr == "" {
		return join.Target{}, fmt.Errorf("address %q says who, but not where: %w", p, wire.ErrAddr)
	}
	return join.Target{ID: id, Addr: addr}, nil
}
