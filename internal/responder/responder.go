// Package responder answers the requests of peers for contacts and records: FIND_NODE,
// FIND_VALUE, GET_PROVIDERS, OFFER and STORE. A FIND is answered at once, from memory. The
// answer to a STORE waits for the store's one writer, which puts many requests on disk with
// one fsync.
package responder

import (
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// A Config has the parts that a Responder works with. All are needed.
type Config struct {
	Self  wire.PeerID
	K     int // contacts in a reply, and nodes that hold a record
	Table Table
	Host  Host

	// Slack is how many nodes beyond the k nearest count as holders for a sender that has
	// looked up the nearest: it may know of dead ones that this node still counts.
	Slack int
	// MaxForged is how many forged records in one STORE are checked; the others are refused.
	MaxForged int
}

// A Responder answers requests. Make it with [New]. Goroutines may share it.
type Responder struct {
	Config
	key  routing.Key
	jobs chan storeJob
}

// maxJobs is how many STORE requests wait for the store's writer.
const maxJobs = 256

// New makes a Responder. STOREs are answered while [Responder.WriteStores] runs.
func New(c Config) *Responder {
	return &Responder{Config: c, key: c.Self.Key(), jobs: make(chan storeJob, maxJobs)}
}
