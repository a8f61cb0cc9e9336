package replica

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/kadquic/kadquic/internal/background"
	"github.com/kadquic/kadquic/internal/lookup"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

const (
	// batchBytes bounds the records in one STORE, in bytes: a frame, less 4 KiB for
	// the encoding around them.
	batchBytes = wire.MaxFrame - 4<<10

	// offersPerRequest is how many offered records count as one request, at the sender
	// and at the receiver: the receiver must look up each of them.
	offersPerRequest = 64
)

// A delivery sends records to one peer, one request after the other.
type delivery struct {
	r      *Replicator
	to     wire.PeerID
	asked  int           // sum of the costs of the requests answered
	waited time.Duration // for the answers
	sent   int           // records that the peer stored

	refused bool                // the peer has no room: it refused a whole batch for that reason
	full    map[kindAndKey]bool // keys for which the peer has no room; it may have room for others
}

// A kindAndKey is where a holder keeps the records of all publishers, within the quota of one key.
type kindAndKey struct {
	kind wire.Kind
	key  routing.Key
}

func kindAndKeyOf(s *wire.Signed) kindAndKey { return kindAndKey{s.Record.Kind, s.Record.Key} }

// How slow a receiver may be: after slowGrace in total, an answer may take slowest on
// average. A delivery to a slower receiver ends with errTooSlow.
const (
	slowGrace = 30 * time.Second
	slowest   = 2 * time.Second
)

var errTooSlow = errors.New("the peer answers too slowly to receive records")

// deliver sends the records of c with the indexes in which to one peer: it offers
// them, a thousand at a time, and sends those that the peer wants, at a pace within
// the peer's limits. held[i] reports whether the peer now holds record which[i], and
// sent is how many records it took from this node. If a peer refuses a whole batch for
// lack of room, deliver sends it nothing more. After an error, some records may have
// been delivered.
func (r *Replicator) deliver(ctx context.Context, to wire.PeerID, c batch, which []int32) (held []bool, sent int, err error) {
	d := delivery{r: r, to: to}
	held = make([]bool, len(which))
	for at := 0; at < len(which) && err == nil && !d.refused; at += wire.MaxOffer {
		end := min(at+wire.MaxOffer, len(which))
		if !c.Fresh() {
			err = d.offer(ctx, c, which[at:end], held[at:end])
		}
		if err == nil {
			err = d.send(ctx, c, which[at:end], held[at:end])
		}
	}
	if err != nil {
		err = fmt.Errorf("deliver to %s: %w", to, err)
	}
	return held, d.sent, err
}

// offer asks which of up to MaxOffer records the peer holds already. A peer that does
// not implement OFFER counts as holding none.
func (d *delivery) offer(ctx context.Context, c batch, which []int32, held []bool) error {
	m := wire.Offer{Records: make([]wire.Offered, len(which))}
	for i, r := range which {
		m.Records[i] = c.Offered(int(r))
	}
	answer, err := d.ask(ctx, m, offeredSize*len(which), OfferCost(len(which)))
	if errors.Is(err, wire.CodeUnimplemented) {
		return nil
	}
	if err != nil {
		return err
	}
	wanted, ok := answer.(wire.Wanted)
	if !ok {
		return lookup.Unexpected(d.to, answer)
	}
	for i := range held {
		held[i] = !wanted.Has(i)
	}
	return nil
}

// offeredSize is the approximate size of a record in an OFFER, in bytes.
const offeredSize = 56

// OfferCost is how many requests an offer of n records counts for, at the sender and at the
// receiver.
func OfferCost(n int) int { return max(1, n/offersPerRequest) }

// send sends the records that the peer does not hold yet, as many in a frame as fit.
func (d *delivery) send(ctx context.Context, c batch, which []int32, held []bool) error {
	var batch []*wire.Signed
	var places []int // of the batch, in which
	size := 0
	flush := func() error {
		if len(batch) == 0 || d.refused {
			return nil
		}
		err := d.store(ctx, batch, places, held, size)
		batch, places, size = batch[:0], places[:0], 0
		return err
	}
	for i, r := range which {
		if held[i] || d.refused {
			continue
		}
		s := c.Load(int(r))
		if s == nil || d.full[kindAndKeyOf(s)] {
			continue
		}
		if len(batch) == wire.MaxStore || size+s.Size() > batchBytes {
			if err := flush(); err != nil {
				return err
			}
		}
		batch, places = append(batch, s), append(places, i)
		size += s.Size()
	}
	return flush()
}

// store sends one batch and marks in held the records that the peer has stored.
func (d *delivery) store(ctx context.Context, batch []*wire.Signed, places []int, held []bool, size int) error {
	answer, err := d.ask(ctx, wire.Store{Records: batch}, size, 1)
	if err != nil {
		return err
	}
	stored, ok := answer.(wire.Stored)
	if !ok || len(stored.Results) != len(batch) {
		return lookup.Unexpected(d.to, answer)
	}
	d.noteFull(batch, stored.Results)
	for i, code := range stored.Results {
		if code == wire.CodeOK {
			held[places[i]] = true
			d.sent++
		}
	}
	return nil
}

// noteFull records that the peer has no room, if it refused all of a batch for that
// reason. If the batch has a single key and kind, and every answer is CodeFull, only that
// key counts as full.
func (d *delivery) noteFull(batch []*wire.Signed, results []wire.Code) {
	keys := make(map[kindAndKey]bool)
	for i, code := range results {
		switch code {
		case wire.CodeFull, wire.CodeTooFar, wire.CodeReadOnly:
			keys[kindAndKeyOf(batch[i])] = true
		default:
			return
		}
	}
	if len(keys) > 1 || slices.ContainsFunc(results, func(code wire.Code) bool { return code != wire.CodeFull }) {
		d.refused = true
		return
	}
	if d.full == nil {
		d.full = make(map[kindAndKey]bool)
	}
	maps.Copy(d.full, keys)
}

// maxBusy is how often one request is sent again to a peer that answers with CodeBusy.
const maxBusy = 5

// ask sends one request as soon as the pacer allows, and again when the peer is busy.
// size is the size of its records in bytes, cost how many requests it counts for.
func (d *delivery) ask(ctx context.Context, m wire.Message, size, cost int) (wire.Message, error) {
	for busy := 0; ; busy++ {
		if d.waited > slowGrace+time.Duration(d.asked)*slowest {
			return nil, errTooSlow
		}
		limited, err := d.r.Host.Connect(ctx, d.to)
		if err != nil {
			return nil, err
		}
		if limited {
			if err := d.r.pacers.get(d.to, time.Now()).wait(ctx, size, cost); err != nil {
				return nil, err
			}
		}
		start := time.Now()
		answer, err := d.r.Host.Request(ctx, d.to, m)
		d.waited += time.Since(start)
		if busy < maxBusy && errors.Is(err, wire.CodeBusy) {
			if err := background.Sleep(ctx, time.Second<<busy); err != nil {
				return nil, err
			}
			continue
		}
		d.asked += cost
		return answer, err
	}
}
