// Package replica keeps copies of records on the nodes that are to hold them: it sends many
// records to the k nearest nodes of each (Replicate), sends what this node holds to the other
// holders once an hour (Republish) and to newcomers (HandOver). See Kademlia §2.5.
//
// Records travel in bulk: OFFER names up to a thousand, and the receiver says which it lacks;
// STORE carries those. The sender stays below the limits of the receiver (SPEC.md §9).
package replica

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/kadquic/kadquic/internal/background"
	"github.com/kadquic/kadquic/internal/store"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// A Host is the node as this package needs it.
type Host interface {
	// IsServer reports whether this node holds records for others.
	IsServer() bool
	// IsIsolated reports whether no contact is live.
	IsIsolated() bool
	// Connect makes sure that a peer is connected, and reports whether it limits how much
	// this node may send. Peers on loopback do not.
	Connect(ctx context.Context, id wire.PeerID) (limited bool, err error)
	// Request sends one request to a peer.
	Request(ctx context.Context, id wire.PeerID, m wire.Message) (wire.Message, error)
	// LookUp returns the k nodes nearest to target, this one included if it is one of them,
	// nearest first, each of which has answered (Kademlia §2.3). kind names the lookup in traces. Seeds
	// are asked first.
	LookUp(ctx context.Context, kind string, target routing.Key, seeds ...contact) ([]contact, error)
	// Ping sends a PING, and tells the routing table of the result. It ends within the
	// timeout of a request.
	Ping(ctx context.Context, id wire.PeerID)
	// Store returns the records that this node holds.
	Store() store.Store
}

// A Config has the parts that a Replicator works with. All are needed.
type Config struct {
	Self       wire.PeerID
	K          int // holders of a record
	Table      Table
	Host       Host
	Background *background.Group
	Logger     *slog.Logger

	// Interval is the time between two republications of a record. If it is not positive,
	// the node neither republishes nor hands over.
	Interval time.Duration
}

// A Replicator sends records to the nodes that are to hold them. Make it with [New].
// Goroutines may share it.
type Replicator struct {
	Config
	key                     routing.Key
	began                   time.Time
	newcomers               newcomers
	surveyed                surveyed
	pacers                  pacers
	handOvers               *background.Slots
	republished, handedOver atomic.Int64
}

// New makes a Replicator. It starts nothing: the node runs [Replicator.Republish] once a minute and
// [Replicator.HandOver] all the time.
func New(c Config) *Replicator {
	return &Replicator{
		Config: c, key: c.Self.Key(), began: time.Now(),
		newcomers: newcomers{wake: background.NewWake()},
		pacers:    pacers{of: make(map[wire.PeerID]*pacer)},
		handOvers: c.Background.Slots(handOversAtOnce),
	}
}

// Begin notes the time at which the node starts. Records that its store held before are
// republished in the course of the first interval. It is called before anything runs.
func (r *Replicator) Begin(now time.Time) { r.began = now }

// Stats returns how many records this node has republished, and how many it has handed over to
// newcomers, each counted once for each newcomer that lacked it.
func (r *Replicator) Stats() (republished, handedOver int64) {
	return r.republished.Load(), r.handedOver.Load()
}

// isActive reports whether this node republishes and hands over at all.
func (r *Replicator) isActive() bool { return r.Interval > 0 && r.Host.IsServer() }
