package search

import (
	"bytes"
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// A Holder is one of the nodes nearest to a key, with the records that it holds.
type Holder struct {
	ID       wire.PeerID
	Records  []*wire.Signed // one of each publisher, in order of publishers
	IsBehind bool           // another holder has a newer record
	RTT      time.Duration  // of the request; zero for this node itself
	Err      error          // why nothing is known of it
}

// Durability asks each of the k nodes nearest to a key for its records of one kind. It
// returns those nodes, and the ones among them that did not answer, the nearest first. It
// changes nothing.
func (s *Searcher) Durability(ctx context.Context, kind wire.Kind, key routing.Key) ([]Holder, error) {
	out, err := s.Lookups.PatientNodes(ctx, "durability", key)
	if err != nil {
		return nil, err
	}
	var holders []Holder
	var last routing.Key
	for c := range out.Closest() {
		holders, last = append(holders, Holder{ID: c.Addr.ID}), c.Key
	}
	isWhole := len(holders) < s.k
	for id, cause := range out.Causes() {
		if isWhole || key.CompareDistance(id.Key(), last) < 0 {
			holders = append(holders, Holder{ID: id, Err: cause})
		}
	}
	slices.SortFunc(holders, func(a, b Holder) int { return key.CompareDistance(a.ID.Key(), b.ID.Key()) })

	c := s.collect(Query{Key: key, Kind: kind, Quorum: All}, nil)
	var wg sync.WaitGroup
	for i := range holders {
		if h := &holders[i]; h.Err == nil {
			wg.Go(func() { h.ask(ctx, c) })
		}
	}
	wg.Wait()
	for i := range holders {
		h := &holders[i]
		h.IsBehind = slices.ContainsFunc(h.Records, func(r *wire.Signed) bool {
			best, _ := c.bestOf(r.Record.Publisher)
			newest := best.Record.Record
			return newest.Seq > r.Record.Seq || newest.Seq == r.Record.Seq && newest.Expiry.After(r.Record.Expiry)
		})
	}
	if ctx.Err() != nil {
		return holders, ctx.Err()
	}
	return holders, nil
}

var errInvalid = errors.New("what it has is not valid")

// ask finds out what one holder has.
func (h *Holder) ask(ctx context.Context, c *collection) {
	s := c.search
	if h.ID == s.self {
		held := s.Store().Get(time.Now(), c.kind, c.key, math.MaxInt)
		if !c.addReply(held, h.ID, nil) && len(held) > 0 {
			h.Err = errInvalid
		}
	} else {
		start := time.Now()
		p, page, err := c.page(ctx, h.ID, wire.PeerID{}, 0)
		if err != nil {
			h.Err = err
			return
		}
		h.RTT = time.Since(start)
		good, last, more := c.addPage(page, wire.PeerID{}, h.ID, p)
		if good == 0 && len(page.records) > 0 {
			h.Err = errInvalid
		}
		if more && h.Err == nil {
			c.morePages(ctx, h.ID, last)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, held := range c.all {
		if held.From == h.ID {
			h.Records = append(h.Records, held.Record)
		}
	}
	slices.SortFunc(h.Records, func(a, b *wire.Signed) int {
		return bytes.Compare(a.Record.Publisher[:], b.Record.Publisher[:])
	})
}
