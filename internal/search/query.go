package search

import (
	"context"
	"errors"
	"iter"
	"math"
	"time"

	"github.com/kadquic/kadquic/internal/lookup"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// ErrNotFound says that the nodes nearest to a key hold no such record.
var ErrNotFound = errors.New("not found")

// All is the quorum of a query that ends only when the k nearest have answered.
const All = math.MaxInt

// A Query says which records to find.
type Query struct {
	Key  routing.Key
	Kind wire.Kind
	Name []byte // if given, records of other names are passed over

	// Quorum is how many peers must answer with a record before the query ends. If more than
	// k, every publisher's records are asked for. If zero, All where publishers are compared by Prefer or by the rules of the
	// namespace; else 3 for owned records, of which the newest counts, and 1 for others.
	Quorum int

	// Prefer decides between publishers. If nil, the rules of the namespace.
	Prefer func(a, b Result) bool

	// ReadOnly leaves out read repair and caching.
	ReadOnly bool

	patience func(lookup.Query) time.Duration // nil: the host's
}

// quorum returns Quorum or its default.
func (s *Searcher) quorum(q Query) int {
	switch {
	case q.Quorum > 0:
		return q.Quorum
	case q.Prefer != nil || s.Validators.hasOrder(q.Name):
		return All
	case q.Kind == wire.KindOwned:
		return 3
	}
	return 1
}

// collect begins a collection for a query.
func (s *Searcher) collect(q Query, notify func(Result)) *collection {
	quorum := s.quorum(q)
	return &collection{
		search: s, key: q.Key, kind: q.Kind, name: q.Name, quorum: quorum, patience: q.patience, notify: notify,
		paged: (q.Kind == wire.KindOpen || q.Kind == wire.KindProvider) && quorum > s.k,
		best:  make(map[wire.PeerID]Result),
		pager: pager{patience: s.RPCTimeout},
	}
}

// Query returns the best record that it finds and how many peers, this node included, have
// answered with one. Of owned records the newest is the best. If there is none, the error
// is ErrNotFound. Another error may come beside a record: the query ended before the quorum
// was reached, and there may be a better record.
func (s *Searcher) Query(ctx context.Context, q Query) (best Result, answers int, err error) {
	c := s.collect(q, nil)
	err = c.run(ctx, q)
	best, ok := c.winner(q.Prefer)
	if err == nil && !ok {
		err = ErrNotFound
	}
	return best, c.answered(), err
}

// Results yields the records as they are found, one of each publisher, a newer version
// again. An error, which may be ErrNotFound, comes last.
func (s *Searcher) Results(ctx context.Context, q Query) iter.Seq2[Result, error] {
	return func(yield func(Result, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		found := make(chan Result)
		ended := make(chan error, 1)
		c := s.collect(q, func(r Result) {
			select {
			case found <- r:
			case <-ctx.Done():
			}
		})
		go func() { ended <- c.run(ctx, q) }()
		defer func() {
			cancel()
			if ended != nil {
				<-ended
			}
		}()
		for {
			select {
			case r := <-found:
				if !yield(r, nil) {
					return
				}
			case err := <-ended:
				ended = nil
				if err == nil && c.publishers() == 0 {
					err = ErrNotFound
				}
				if err != nil {
					yield(Result{}, err)
				}
				return
			}
		}
	}
}

// Versions returns the records that the nodes nearest to a key hold, one result for each
// record and node. When ctx ends, it returns the results so far.
func (s *Searcher) Versions(ctx context.Context, kind wire.Kind, key routing.Key) []Result {
	c := s.collect(Query{Key: key, Kind: kind, Quorum: All}, nil)
	c.lookUp(ctx)
	return c.results()
}

// standing looks for a newer version than r of the same publisher.
func (s *Searcher) standing(ctx context.Context, r *wire.Signed) (Result, bool) {
	c := s.collect(Query{Key: r.Record.Key, Kind: r.Record.Kind, Quorum: All}, nil)
	c.lookUp(ctx)
	newest, ok := c.bestOf(r.Record.Publisher)
	return newest, ok && wire.Newer(newest.Record, r)
}

// run looks for records until the quorum is reached, and stores them where they are
// missing. The error says why the quorum was not reached; it is nil if all of the k nearest
// have answered.
func (c *collection) run(ctx context.Context, q Query) error {
	out, err := c.lookUp(ctx)
	if c.enough() {
		err = nil
	}
	if out == nil || err != nil || q.ReadOnly {
		return err
	}
	without, _ := out.Without()
	c.repair(without, q.Prefer)
	return nil
}

// lookUp takes what this node holds itself, and then asks the network until the quorum is
// reached. If the node's own records suffice there is no outcome.
func (c *collection) lookUp(ctx context.Context) (*lookup.Outcome, error) {
	s := c.search
	if err := s.host.Running(); err != nil {
		return nil, err
	}
	most := wire.MaxRecords
	if c.paged {
		most = math.MaxInt
	}
	c.addReply(s.Store().Get(time.Now(), c.kind, c.key, most), s.self, nil)
	if c.enough() {
		return nil, nil
	}
	paging, stop := context.WithCancel(ctx)
	defer stop()
	kind := "get"
	if c.asksProviders() {
		kind = "find providers"
	}
	out, err := s.Lookups.Run(ctx, lookup.Lookup{Kind: kind, Target: c.key,
		Options: lookup.Options{Quorum: c.missing(), Patient: true, Patience: c.patience},
		Ask: func(ctx context.Context, q lookup.Query, out *lookup.Outcome) (lookup.Reply, error) {
			return c.ask(ctx, paging, q, out)
		}})
	c.pager.wait(stop)
	if err == nil {
		err = s.Lookups.Reached(out)
	}
	return out, err
}

// ask asks one peer for the records under the key. Further pages are requested beside the
// lookup, which does not wait for them.
func (c *collection) ask(ctx, paging context.Context, q lookup.Query, out *lookup.Outcome) (lookup.Reply, error) {
	id := q.Addr.ID
	p, page, err := c.page(ctx, id, wire.PeerID{}, c.search.k)
	if err != nil {
		return lookup.Reply{}, err
	}
	closer := out.AddReferrals(p, page.contacts)
	good, last, more := c.addPage(page, wire.PeerID{}, id, p)
	if good > 0 {
		c.countAnswer()
	}
	if more {
		c.pager.pages.Go(func() { c.morePages(paging, id, last) })
	}
	return lookup.Reply{Closer: closer, Value: good > 0}, nil
}
