package node

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/kadquic/kadquic/internal/lookup"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// A searchResult is a verified record and who had it.
type searchResult struct {
	record *wire.Signed
	from   wire.PeerID
}

func (h searchResult) value() Value {
	r := h.record.Record
	return Value{Data: r.Value, Name: r.Name, Key: r.Key, Kind: r.Kind, Publisher: r.Publisher, Seq: r.Seq, Expiry: r.Expiry, From: h.from}
}

// A valueSearch is one get: what has been found so far.
type valueSearch struct {
	node   *Node
	key    routing.Key
	kind   wire.Kind
	name   []byte // nil: any
	quorum int
	paged  bool // every publisher's records are asked for, not the best of them
	choose Selector
	notify func(searchResult) // of each new record; may block
	pager  pager

	patience func(query) time.Duration // nil: Node.patience

	mu      sync.Mutex
	best    map[wire.PeerID]searchResult // by publisher
	all     []searchResult               // of every holder
	answers int                          // with a record, our own among them
}

func (n *Node) newFinding(key routing.Key, o GetOptions, notify func(searchResult)) *valueSearch {
	defaultTo(&o.Kind, wire.KindOpen)
	if o.Quorum <= 0 {
		switch {
		case o.Selector != nil || n.hasBetter(o.Name):
			o.Quorum = n.config.K + 1 // to the walk's end
		case o.Kind == wire.KindOwned:
			o.Quorum = 3
		default:
			o.Quorum = 1
		}
	}
	if key == (routing.Key{}) && len(o.Name) > 0 {
		if key = routing.KeyOf(o.Name); o.Kind == wire.KindOwned {
			key = wire.OwnedKey(n.id, o.Name)
		}
	}
	return &valueSearch{
		node: n, key: key, kind: o.Kind, name: o.Name, quorum: o.Quorum, choose: o.Selector, notify: notify,
		paged: (o.Kind == wire.KindOpen || o.Kind == wire.KindProvider) && o.Quorum > n.config.K,
		best:  make(map[wire.PeerID]searchResult),
		pager: pager{patience: n.config.RPCTimeout},
	}
}

// run looks for records until the quorum is reached, and stores them where they
// are missing. An error says that it was not, for another reason than that all
// of the nearest have answered.
func (f *valueSearch) run(ctx context.Context) error {
	out, err := f.walk(ctx)
	if f.enough() {
		err = nil
	}
	if out == nil || err != nil {
		return err
	}
	var without wire.PeerID
	if c, ok := out.Without(); ok {
		without = c
	}
	f.repair(without)
	return nil
}

// walk looks at what this node holds itself, and then asks the network until the
// quorum is reached. If the first suffices there is no outcome.
func (f *valueSearch) walk(ctx context.Context) (*lookup.Outcome, error) {
	n := f.node
	if err := n.running(); err != nil {
		return nil, err
	}
	most := wire.MaxRecords
	if f.paged {
		most = math.MaxInt
	}
	f.addReply(n.values.Get(time.Now(), f.kind, f.key, most), n.id)
	if f.enough() {
		return nil, nil
	}
	paging, stop := context.WithCancel(ctx)
	defer stop()
	out, err := n.lookups.Run(ctx, lookup.Lookup{Kind: "get", Target: f.key,
		Options: lookupOptions{Quorum: f.quorum - f.answered(), Patient: true, Patience: f.patience},
		Ask: func(ctx context.Context, q query, out *lookup.Outcome) (lookup.Reply, error) {
			return f.ask(ctx, paging, q, out)
		}})
	f.pager.wait(stop)
	if err == nil {
		err = n.lookups.Reached(out)
	}
	return out, err
}

func (f *valueSearch) answered() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.answers
}

func (f *valueSearch) enough() bool { return f.answered() >= f.quorum }

// ask asks one peer for the records under the key. What does not go into one reply
// it is asked for beside the walk, which that does not hold up.
func (f *valueSearch) ask(ctx, paging context.Context, q query, out *lookup.Outcome) (lookup.Reply, error) {
	n := f.node
	l, m, err := n.request(ctx, q.Addr.ID, wire.FindValue{Key: f.key, Kind: f.kind, Count: n.config.K, All: f.paged})
	if err != nil {
		return lookup.Reply{}, err
	}
	v, ok := m.(wire.Value)
	if !ok {
		return lookup.Reply{}, unexpected(q.Addr.ID, m)
	}
	if last, ok := pageEnd(v.Records, wire.PeerID{}); f.paged && v.More && ok {
		f.pager.pages.Go(func() { f.morePages(paging, q.Addr.ID, last) })
	}
	return lookup.Reply{Closer: out.AddReferrals(l, v.Contacts), Value: f.addReply(v.Records, q.Addr.ID)}, nil
}

// morePages asks a peer for the pages behind that publisher.
func (f *valueSearch) morePages(ctx context.Context, id wire.PeerID, last wire.PeerID) {
	n := f.node
	for range maxPages - 1 {
		_, m, err := n.request(ctx, id, wire.FindValue{Key: f.key, Kind: f.kind, All: true, After: last})
		if err != nil {
			return
		}
		v, _ := m.(wire.Value)
		next, ok := pageEnd(v.Records, last)
		if !ok {
			return
		}
		if _, forged := f.accept(v.Records, id); forged >= maxForged || !v.More {
			return
		}
		last = next
	}
	n.config.Logger.Info("peer tells of records without end", "peer", id, "key", f.key)
}

// addReply takes in what one node has, if it is what was asked for and good, and
// reports whether any of it is.
func (f *valueSearch) addReply(records []*wire.Signed, from wire.PeerID) (good bool) {
	if good, _ := f.accept(records, from); good == 0 {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers++
	return true
}

// accept is addReply of a page that is not the first, and counts what is good, and what
// is forged: of that it takes no more than a few.
func (f *valueSearch) accept(records []*wire.Signed, from wire.PeerID) (good, forged int) {
	n, now := f.node, time.Now()
	for _, r := range records {
		if r.Record.Key != f.key || r.Record.Kind != f.kind || len(f.name) > 0 && !bytes.Equal(r.Record.Name, f.name) {
			continue // not what was asked for
		}
		if !f.known(r) {
			if err := n.verify(r, now); err != nil {
				n.config.Logger.Info("record does not verify", "peer", from, "key", f.key, "err", err)
				if errors.Is(err, wire.ErrBadSignature) {
					forged++
				}
				if forged == maxForged {
					return good, forged
				}
				continue
			}
		}
		good++
		f.add(searchResult{r, from})
	}
	return good, forged
}

// known reports whether this very record has been verified already.
func (f *valueSearch) known(r *wire.Signed) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	h, ok := f.best[r.Record.Publisher]
	return ok && h.record.Signature == r.Signature && bytes.Equal(h.record.Payload, r.Payload)
}

// add takes in a verified record.
func (f *valueSearch) add(h searchResult) {
	f.mu.Lock()
	f.all = append(f.all, h)
	old, ok := f.best[h.record.Record.Publisher]
	newer := !ok || wire.Newer(h.record, old.record)
	if newer {
		f.best[h.record.Record.Publisher] = h
	}
	f.mu.Unlock()
	if newer {
		f.pager.found()
	}
	if newer && f.notify != nil {
		f.notify(h)
	}
}

// winner returns the best record of any publisher. Where the order is the
// application's, it sees them in ours, so that what it does not decide is not
// left to chance.
func (f *valueSearch) winner() (best searchResult, ok bool) {
	f.mu.Lock()
	all := slices.Collect(maps.Values(f.best))
	f.mu.Unlock()
	slices.SortFunc(all, func(a, b searchResult) int {
		if wire.Better(a.record, b.record) {
			return -1
		}
		return 1
	})
	for i, h := range all {
		if i == 0 || f.node.prefers(f.choose, h, best) {
			best = h
		}
	}
	return best, len(all) > 0
}

// bestOf returns the newest record of one publisher.
func (f *valueSearch) bestOf(publisher wire.PeerID) (searchResult, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h, ok := f.best[publisher]
	return h, ok
}

// has reports whether a node has told that it holds that very record.
func (f *valueSearch) has(id wire.PeerID, r *wire.Signed) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(f.all, func(h searchResult) bool { return h.from == id && h.record.Signature == r.Signature })
}

// repair stores the records found, in the background, where a get has shown
// them missing: at holders of an older one (read repair), and at the nearest
// node that did not have any (Kademlia §2.3, caching), if there is one.
func (f *valueSearch) repair(without wire.PeerID) {
	n := f.node
	f.mu.Lock()
	todo := make(map[wire.PeerID][]*wire.Signed)
	for _, h := range f.all {
		best := f.best[h.record.Record.Publisher].record
		if wire.Newer(best, h.record) && !slices.Contains(todo[h.from], best) {
			todo[h.from] = append(todo[h.from], best)
		}
	}
	f.mu.Unlock()
	if best, ok := f.winner(); ok && !without.IsZero() {
		todo[without] = append(todo[without], best.record)
	}
	for id, records := range todo {
		if id == n.id {
			for _, r := range records {
				n.repairLocal(r)
			}
			continue
		}
		n.tryInBackground(n.repairs, func(ctx context.Context) {
			n.request(ctx, id, wire.Store{Records: records[:min(len(records), wire.MaxRecords)]})
		})
	}
}
