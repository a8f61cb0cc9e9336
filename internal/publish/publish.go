// Package publish knows which records a node keeps alive: their versions, the times of their
// renewals, the tombstones that replace unpublished ones, and their labels. Its only I/O goes
// through its [StateStore]. A [Renewer] republishes the records that are due through the small
// interface [Network].
package publish

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/kadquic/kadquic/internal/background"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// maxPublished is how many records one node keeps alive. They stay in memory, about 400
// bytes each and the value.
const maxPublished = 1 << 16

// A Config says whose publications a Publications has. All fields are needed.
type Config struct {
	Self   wire.PeerID
	Life   time.Duration                           // of each signature
	Sign   func(wire.Record) (*wire.Signed, error) // signs with the node's key; makes the value of provider records
	Logger *slog.Logger
}

// Publications are the records that a node keeps alive. Make it with [New]. Goroutines may
// share it, once Load has returned.
type Publications struct {
	config Config
	wake   background.Wake // something is due before nextLook

	published   savedMap[*publication]
	nextLook    time.Time // when the Renewer wakes; guarded by published.mu
	tombstones  savedMap[*tombstone]
	retractions savedMap[uint64] // the highest sequence number that has ended
	labels      savedMap[string]
	seqs        seqs
}

// New makes a Publications that has none. Without Load they end with the process.
func New(c Config) *Publications {
	p := &Publications{config: c, wake: background.NewWake(), seqs: seqs{last: make(map[routing.Key]uint64)}}
	p.published.init("published/", func(_ Key, x *publication) []byte {
		if x.version.once {
			return nil
		}
		return wire.AppendSigned(nil, x.version.record)
	})
	p.tombstones.init("withdrawn/", func(_ Key, t *tombstone) []byte { return wire.AppendSigned(nil, t.record) })
	p.retractions.init("retracted/", appendRetraction)
	p.labels.init("label/", appendLabel)
	return p
}

// errTooMany refuses one more publication.
var errTooMany = fmt.Errorf("%d records are kept alive already, which is the limit: unpublish some, or give it a TTL", maxPublished)

// ErrNotPublished says that the node keeps no such record alive.
var ErrNotPublished = errors.New("not published by this node")

// Has reports whether a record is kept alive there, or about to be.
func (p *Publications) Has(at Key) bool {
	_, ok := p.published.get(at)
	return ok
}

// NextSeq returns a new sequence number for a record under key, higher than above.
func (p *Publications) NextSeq(key routing.Key, above uint64, now time.Time) uint64 {
	return p.seqs.next(key, above, now)
}

// signAgain signs a record again. The clocks of its holders decide whether its times are
// right: what other peers say about this node's clock must not end its records.
func (p *Publications) signAgain(r wire.Record, seq uint64, life time.Duration) (*wire.Signed, error) {
	r.Seq, r.Expiry = seq, time.Now().Add(life)
	return p.config.Sign(r)
}
