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

// MaxLabel is the length of the longest label, in bytes.
const MaxLabel = 1024

// A Key names a publication: a publisher has at most one record of each kind under a key.
type Key struct {
	Kind wire.Kind
	Key  routing.Key
}

// KeyOf returns the key of a record.
func KeyOf(r *wire.Signed) Key { return Key{r.Record.Kind, r.Record.Key} }

func (at Key) String() string { return fmt.Sprintf("%v/%s", at.Kind, at.Key) }

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

// Load loads the state that an earlier process saved, and from then on saves to state. Call
// it before any other method.
func (p *Publications) Load(state StateStore, now time.Time) {
	for _, err := range p.published.load(state, p.adoptSaved) {
		p.config.Logger.Warn("not published any more", "err", err) // and left where it is
	}
	p.tombstones.loadOrDelete(state, func(data []byte) bool { return p.loadTombstone(data, now) })
	p.retractions.loadOrDelete(state, p.loadRetraction)
	p.labels.loadOrDelete(state, p.loadLabel)
	for at, t := range p.tombstones.by { // unpublished when the end could not be saved
		if x := p.published.by[at]; x != nil && x.version.record.Record.Seq < t.record.Record.Seq {
			if _, err := p.published.remove(at); err != nil {
				p.config.Logger.Warn("cannot end a publication", "err", err)
			}
		}
	}
}

// adoptSaved takes in a publication of an earlier process.
func (p *Publications) adoptSaved(data []byte) error {
	r, err := wire.ParseSigned(data)
	if err != nil {
		return err
	}
	if r.Record.Publisher != p.config.Self {
		return fmt.Errorf("published by %s", r.Record.Publisher)
	}
	return p.adopt(r, 0)
}

// adopt takes in a publication of another process, to be signed and published again as soon
// as possible, unless one at least as new is there. Its next signature takes a sequence
// number above its own and the one given.
func (p *Publications) adopt(r *wire.Signed, above uint64) error {
	at := KeyOf(r)
	ps := &p.published
	ps.mu.Lock()
	defer ps.mu.Unlock()
	x := ps.by[at]
	switch {
	case x != nil && !wire.Newer(r, x.version.record):
		return nil
	case x == nil && len(ps.by) >= maxPublished:
		return errTooMany
	}
	ps.by[at] = &publication{version: &version{at: at, record: r, above: max(r.Record.Seq, above), out: true}}
	p.wake.Set()
	return nil
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

// LastSeq returns the highest sequence number of a publication or a tombstone there, 0 if
// there is none.
func (p *Publications) LastSeq(at Key) uint64 {
	last := p.tombstoneSeq(at)
	p.published.mu.Lock()
	defer p.published.mu.Unlock()
	if x := p.published.by[at]; x != nil {
		last = max(last, x.version.record.Record.Seq)
	}
	return last
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
