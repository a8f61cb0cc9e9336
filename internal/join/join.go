// Package join brings a node into its network and keeps it there: it meets the bootstrap
// peers, finds the node's position (Kademlia §2.3), refreshes buckets that no lookup touches,
// joins again when no contact is left, and meets peers that are discovered nearby.
package join

import (
	"log/slog"
	"time"

	"github.com/kadquic/kadquic/internal/background"
	"github.com/kadquic/kadquic/wire"
)

// A Config has the parts that a Joiner works with. All but Discovery are needed.
type Config struct {
	Self       wire.PeerID
	K          int
	Table      Table
	Lookups    Lookups
	Host       Host
	Background *background.Group
	Logger     *slog.Logger
	Discovery  Discovery // if nil, no peers are discovered

	RPCTimeout time.Duration // of one request
	// RefreshInterval is how long a bucket may be without a lookup. If it is not positive,
	// buckets are not refreshed.
	RefreshInterval time.Duration

	Closed      error                      // of lookups once the node is closed
	Unreachable error                      // of lookups that no peer has answered
	Failed      func(causes []error) error // makes the error of a join for which no bootstrap peer answered
}

// A Joiner joins the network. Make it with [New]. Goroutines may share it.
type Joiner struct {
	Config
	targets  targets
	meetings *background.Slots // with discovered peers
}

// New makes a Joiner that knows no bootstrap peer. It starts nothing: the node runs
// [Joiner.Rejoin] and [Joiner.Discover], and [Joiner.RefreshStale] once a minute.
func New(c Config) *Joiner {
	return &Joiner{Config: c, meetings: c.Background.Slots(maxMeetings)}
}

// AddTargets adds peers through which to join, now and whenever the table has run empty.
func (j *Joiner) AddTargets(more []Target) { j.targets.add(more) }

// HasTargets reports whether there is any peer through which to join.
func (j *Joiner) HasTargets() bool {
	list, _ := j.targets.state()
	return len(list) > 0
}
