package search

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/kadquic/kadquic/internal/lookup"
	"github.com/kadquic/kadquic/internal/store"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// MaxForged bounds the wrong signatures of one peer that are verified, at 50 µs each. The
// rest of its records are then refused unverified.
const MaxForged = 3

// A collection gathers the records that one query finds. Goroutines share it.
type collection struct {
	search *Searcher
	key    routing.Key
	kind   wire.Kind
	name   []byte // nil: any
	quorum int
	paged  bool         // every publisher's records are asked for, not the best of them
	notify func(Result) // of each new record; may block; nil: nothing
	pager  pager

	patience func(lookup.Query) time.Duration // nil: the host's

	mu      sync.Mutex
	best    map[wire.PeerID]Result // by publisher
	all     []Result               // of every holder
	answers int                    // with a record, this node's own among them
}

func (c *collection) answered() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.answers
}

func (c *collection) enough() bool { return c.answered() >= c.quorum }

// missing returns how many more answers make the quorum.
func (c *collection) missing() int { return c.quorum - c.answered() }

func (c *collection) countAnswer() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answers++
}

// addReply adds the records of one node, this one if p is nil, and reports whether any is
// good.
func (c *collection) addReply(records []*wire.Signed, from wire.PeerID, p lookup.Peer) bool {
	good, _, _ := c.addPage(page{records: records}, wire.PeerID{}, from, p)
	if good > 0 {
		c.countAnswer()
	}
	return good > 0
}

// addPage adds the records of a page that begins behind the publisher after, provided that
// they are asked for and verify. It returns how many were good, the last publisher, and
// whether to ask for the page behind it. An honest peer's page advances, has nothing else
// than was asked for, and is not full of forgeries.
func (c *collection) addPage(pg page, after wire.PeerID, from wire.PeerID, p lookup.Peer) (good int, last wire.PeerID, more bool) {
	now, honest, forged := time.Now(), true, 0
	last = after
	for _, r := range pg.records {
		by := r.Record.Publisher
		wanted := r.Record.Key == c.key && r.Record.Kind == c.kind
		if !wanted || bytes.Compare(by[:], last[:]) <= 0 {
			honest = false
			// This node's own records, and a VALUE without pages, begin with the best one.
			if c.asksProviders() && p != nil {
				break
			}
		}
		last = by
		if !wanted || len(c.name) > 0 && !bytes.Equal(r.Record.Name, c.name) {
			continue
		}
		if !c.isKnown(r) {
			if err := c.search.Verify(r, now); err != nil {
				c.search.Logger.Info("record does not verify", "peer", from, "key", c.key, "err", err)
				if errors.Is(err, wire.ErrBadSignature) {
					forged++
				}
				if forged == MaxForged {
					honest = false
					break
				}
				continue
			}
		}
		good++
		c.add(Result{r, from, p})
	}
	return good, last, c.paged && pg.more && honest && len(pg.records) > 0
}

// isKnown reports whether this very record has been verified already.
func (c *collection) isKnown(r *wire.Signed) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	known, ok := c.best[r.Record.Publisher]
	return ok && known.Record.Signature == r.Signature && bytes.Equal(known.Record.Payload, r.Payload)
}

// add adds a verified record.
func (c *collection) add(r Result) {
	publisher := r.Record.Record.Publisher
	c.mu.Lock()
	c.all = append(c.all, r)
	old, ok := c.best[publisher]
	newer := !ok || wire.Newer(r.Record, old.Record)
	if newer {
		c.best[publisher] = r
	}
	c.mu.Unlock()
	if newer {
		c.pager.found()
	}
	if newer && c.notify != nil {
		c.notify(r)
	}
}

// publishers returns how many publishers have a record.
func (c *collection) publishers() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.best)
}

// winner returns the best record of any publisher. The application's order is applied to
// the records in the order of wire.Better, so that the result does not depend on chance
// where the application's order leaves it open.
func (c *collection) winner(prefer func(a, b Result) bool) (best Result, ok bool) {
	c.mu.Lock()
	all := slices.Collect(maps.Values(c.best))
	c.mu.Unlock()
	slices.SortFunc(all, func(a, b Result) int {
		if wire.Better(a.Record, b.Record) {
			return -1
		}
		return 1
	})
	for i, r := range all {
		if i == 0 || c.search.Validators.prefers(prefer, r, best) {
			best = r
		}
	}
	return best, len(all) > 0
}

// bestOf returns the newest record of one publisher.
func (c *collection) bestOf(publisher wire.PeerID) (Result, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, ok := c.best[publisher]
	return r, ok
}

// results returns all records, one for each holder.
func (c *collection) results() []Result {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.all)
}

// has reports whether a node has answered with that very record.
func (c *collection) has(id wire.PeerID, r *wire.Signed) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(c.all, func(held Result) bool { return held.From == id && held.Record.Signature == r.Signature })
}

// repair stores the records found, in the background, where they are missing: at the
// holders of older versions (read repair), and at the nearest node that answered without a
// record (Kademlia §2.3, caching), unless that is the zero ID.
func (c *collection) repair(without wire.PeerID, prefer func(a, b Result) bool) {
	s := c.search
	c.mu.Lock()
	todo := make(map[wire.PeerID][]*wire.Signed)
	for _, r := range c.all {
		best := c.best[r.Record.Record.Publisher].Record
		if wire.Newer(best, r.Record) && !slices.Contains(todo[r.From], best) {
			todo[r.From] = append(todo[r.From], best)
		}
	}
	c.mu.Unlock()
	if best, ok := c.winner(prefer); ok && !without.IsZero() {
		todo[without] = append(todo[without], best.Record)
	}
	for id, records := range todo {
		if id == s.self {
			for _, r := range records {
				s.repairLocal(r)
			}
			continue
		}
		s.inBackground(s.repairs, func(ctx context.Context) {
			s.host.Request(ctx, id, wire.Store{Records: records[:min(len(records), wire.MaxRecords)]})
		})
	}
}

// repairLocal keeps a newer version of a record that this node holds, but only for a while
// if the node is not one of the record's holders: it will not be sent the next version then,
// and its gets begin with its own records.
func (s *Searcher) repairLocal(r *wire.Signed) error {
	now := time.Now()
	nearer, holders := s.Closer(r.Record.Key), Holders(s.k)
	return s.Store().Put(now, []store.Item{{
		Record: r,
		Cached: nearer > holders,
		Life:   store.CacheLife(r.Record.Kind, r.Record.Expiry.Sub(now), nearer, holders),
	}})[0]
}

// asksProviders reports whether the request is GET_PROVIDERS, which is FIND_VALUE with All
// for one kind.
func (c *collection) asksProviders() bool { return c.paged && c.kind == wire.KindProvider }
