package publish

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kadquic/kadquic/wire"
)

const (
	maxRenewed = 1024 // records renewed together
	maxSingly  = 8    // up to so many each by itself

	// retractTimeout bounds the search for the holders of one record.
	retractTimeout = time.Minute
)

// A Version is a record that a peer holds.
type Version struct {
	From   wire.PeerID
	Record *wire.Signed
}

// A Network stores records at other nodes. Goroutines share it.
type Network interface {
	// State reports whether the node knows no live peer, and why nothing can be published;
	// nil if something can.
	State() (isolated bool, offline error)
	// Replicate stores records that were signed just now at the k nearest peers of each. It
	// returns how many peers acknowledged each, of so many.
	Replicate(ctx context.Context, records []*wire.Signed) (acks []int, of int)
	// Put stores one record at the k nearest peers of its key. With stale a peer refused it
	// because it knows a newer one.
	Put(ctx context.Context, r *wire.Signed) (o Outcome, stale bool)
	// Versions returns all records of a kind under a key that the k nearest peers hold, as
	// far as they are found before ctx ends.
	Versions(ctx context.Context, at Key) []Version
	// StoreAt stores a record at one peer.
	StoreAt(ctx context.Context, id wire.PeerID, r *wire.Signed) error
}

// A Renewer republishes the records that are due, and brings tombstones to holders of unpublished
// records. Make it with [NewRenewer].
type Renewer struct {
	p       *Publications
	network Network
}

// NewRenewer makes a Renewer for p.
func NewRenewer(p *Publications, n Network) *Renewer { return &Renewer{p, n} }

// Run republishes the records that are due until ctx ends.
func (rn *Renewer) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-rn.p.wake.C():
		case <-ctx.Done():
			return
		}
		rn.p.saveAgain()
		isolated, offline := rn.network.State()
		due := rn.p.Due(time.Now(), isolated, offline)
		for len(due) > 0 && ctx.Err() == nil {
			batch := due[:min(len(due), maxRenewed)]
			due = due[len(batch):]
			rn.renewBatch(ctx, batch)
		}
		timer.Reset(rn.p.rest(time.Now(), offline != nil))
	}
}

// saveAgain saves the entries that the state store refused before.
func (p *Publications) saveAgain() {
	p.published.saveAgain()
	p.tombstones.saveAgain()
	p.retractions.saveAgain()
	p.labels.saveAgain()
}

// renewBatch republishes some records: a few each by itself, many by one stream of records
// to each peer.
func (rn *Renewer) renewBatch(ctx context.Context, batch []Renewal) {
	p := rn.p
	var of []Renewal
	var records []*wire.Signed
	for _, w := range batch {
		r, err := p.resign(w)
		if err != nil {
			p.config.Logger.Warn("cannot renew", "key", w.record.Record.Key, "err", err)
			p.renewed(w.version, w.record, Outcome{Err: err})
			continue
		}
		of, records = append(of, w), append(records, r)
	}
	acks, nodes := make([]int, len(records)), 0
	if len(records) > maxSingly {
		acks, nodes = rn.network.Replicate(ctx, records)
	}
	var unreachable error
	for i, r := range records {
		switch {
		case ctx.Err() != nil:
			return
		case 2*acks[i] > nodes:
			p.renewed(of[i].version, r, Outcome{Count: acks[i], Of: nodes})
		case unreachable != nil: // it would be the same for all
			p.renewed(of[i].version, r, Outcome{Count: acks[i], Of: nodes, Err: unreachable, Isolated: true})
		default: // find out why few peers have it
			if o := rn.renewOne(ctx, of[i], r); o.Isolated {
				unreachable = o.Err
			}
		}
	}
}

// renewOne publishes a record that was signed again. If peers refuse it for a newer version,
// it finds out whose that is.
func (rn *Renewer) renewOne(ctx context.Context, w Renewal, r *wire.Signed) Outcome {
	p := rn.p
	log := p.config.Logger.With("kind", r.Record.Kind, "key", r.Record.Key)
	o, stale := rn.network.Put(ctx, r)
	if ctx.Err() != nil {
		return Outcome{Err: ctx.Err()}
	}
	if stale {
		newest := rn.newest(ctx, r)
		switch {
		case newest != nil && !bytes.Equal(newest.Record.Value, r.Record.Value):
			log.Info("another machine has put another version with this node's key: it is not renewed here any more",
				"seq", r.Record.Seq, "newest", newest.Record.Seq)
			if err := p.drop(w.version); err != nil {
				log.Warn("cannot end a publication", "err", err)
			}
			return Outcome{}
		case newest != nil: // an earlier signature of this node
			p.raise(w.version, newest.Record.Seq)
			o.Err = fmt.Errorf("sequence %d stands: %w", newest.Record.Seq, wire.CodeStale)
			o.Count, o.Isolated = 0, false
		case o.Count == 0: // the newer version has ended, and peers remember its sequence number
			p.raise(w.version, uint64(time.Now().UnixMilli()))
		}
	}
	if o.Err != nil {
		log.Info("cannot renew", "err", o.Err)
	}
	p.renewed(w.version, r, o)
	return o
}

// newest returns the newest version of the same publisher if it is newer than r, else nil.
func (rn *Renewer) newest(ctx context.Context, r *wire.Signed) *wire.Signed {
	best := r
	for _, v := range rn.versions(ctx, KeyOf(r)) {
		if wire.Newer(v.Record, best) {
			best = v.Record
		}
	}
	if best == r {
		return nil
	}
	return best
}

// versions returns the versions that this node has signed.
func (rn *Renewer) versions(ctx context.Context, at Key) []Version {
	return slices.DeleteFunc(rn.network.Versions(ctx, at), func(v Version) bool {
		return v.Record.Record.Publisher != rn.p.config.Self
	})
}

// RetractDue brings tombstones to the holders of records that they replace. Call it once a
// minute.
func (rn *Renewer) RetractDue(ctx context.Context) {
	if isolated, _ := rn.network.State(); isolated {
		return
	}
	due, ended := rn.p.DueTombstones(time.Now())
	for _, r := range due {
		if ctx.Err() != nil {
			return
		}
		if !rn.retract(ctx, r) {
			ended = append(ended, r)
		}
	}
	for _, r := range ended {
		if err := rn.p.endTombstone(r); err != nil {
			rn.p.config.Logger.Info("cannot forget a tombstone", "err", err)
		}
	}
}

// retract stores a tombstone at each of the nearest peers that holds a version older than r.
// It returns false if a peer holds a newer one: it was put with this node's key.
func (rn *Renewer) retract(ctx context.Context, r *wire.Signed) bool {
	ctx, cancel := context.WithTimeout(ctx, retractTimeout)
	defer cancel()
	found := rn.versions(ctx, KeyOf(r))
	for _, v := range found {
		if v.Record.Record.Seq > r.Record.Seq {
			return false
		}
	}
	for _, v := range found {
		if v.Record.Record.Seq == r.Record.Seq {
			continue
		}
		// A holder whose clock is ahead refuses as expired what ends in a minute.
		for _, life := range []time.Duration{tombstoneLife, tombstoneLife + wire.MaxSkew} {
			t, err := rn.p.signAgain(r.Record, r.Record.Seq, life)
			if err == nil {
				err = rn.network.StoreAt(ctx, v.From, t)
			}
			if err != nil {
				rn.p.config.Logger.Info("cannot retract", "kind", r.Record.Kind, "key", r.Record.Key, "peer", v.From, "err", err)
			}
			if !errors.Is(err, wire.CodeExpired) {
				break
			}
		}
	}
	return true
}
