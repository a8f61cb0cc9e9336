package node

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// GetOptions say which records to get. The zero value is the first open record
// found.
type GetOptions struct {
	// Kind is KindOpen if zero. Kinds never compete.
	Kind wire.Kind

	// Quorum is how many peers must answer with a record before the best of them
	// is believed to be the newest. If zero, 1; of owned records 3.
	Quorum int
}

// A Value is a record that was found and verified.
type Value struct {
	Data      []byte
	Key       routing.Key
	Kind      wire.Kind
	Publisher wire.PeerID
	Seq       uint64
	Expiry    time.Time
	From      wire.PeerID // who had it
}

// Get returns the value under key: the first open record found that is valid.
// If there is none the error is ErrNotFound.
func (n *Node) Get(ctx context.Context, key routing.Key) ([]byte, error) {
	v, err := n.GetWith(ctx, key, GetOptions{})
	return v.Data, err
}

// GetWith is Get with options, and returns all there is to know of the record:
// the best of those found. Of owned records that is the newest; of open ones
// that which lives longest.
func (n *Node) GetWith(ctx context.Context, key routing.Key, o GetOptions) (Value, error) {
	f := n.newFinding(key, o, nil)
	err := f.run(ctx)
	if best, ok := f.winner(); ok {
		return best.value(), nil // data at hand is returned even when ctx is done
	}
	if err == nil {
		err = ErrNotFound
	}
	return Value{}, fmt.Errorf("get %s: %w", key, err)
}

// Values yields every valid record under key as it is found, one of each
// publisher, a newer one again, until the k nearest have answered or the caller
// has seen enough. With Quorum given it ends there. An error comes last.
func (n *Node) Values(ctx context.Context, key routing.Key, o GetOptions) iter.Seq2[Value, error] {
	if o.Quorum == 0 {
		o.Quorum = n.config.K + 1 // to the walk's end
	}
	return func(yield func(Value, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		hits := make(chan hit)
		ended := make(chan error, 1)
		f := n.newFinding(key, o, func(h hit) {
			select {
			case hits <- h:
			case <-ctx.Done():
			}
		})
		go func() { ended <- f.run(ctx) }()
		defer func() {
			cancel()
			if ended != nil {
				<-ended
			}
		}()
		for {
			select {
			case h := <-hits:
				if !yield(h.value(), nil) {
					return
				}
			case err := <-ended:
				ended = nil
				if _, ok := f.winner(); !ok && err == nil {
					err = ErrNotFound
				}
				if err != nil {
					yield(Value{}, fmt.Errorf("get %s: %w", key, err))
				}
				return
			}
		}
	}
}

// A hit is a verified record and who had it.
type hit struct {
	record *wire.Signed
	from   wire.PeerID
}

func (h hit) value() Value {
	r := h.record.Record
	return Value{Data: r.Value, Key: r.Key, Kind: r.Kind, Publisher: r.Publisher, Seq: r.Seq, Expiry: r.Expiry, From: h.from}
}

// A finding is one get: what has been found so far.
type finding struct {
	node   *Node
	key    routing.Key
	kind   wire.Kind
	quorum int
	notify func(hit) // of each new record; may block

	mu   sync.Mutex
	best map[wire.PeerID]hit // by publisher
	all  []hit               // of every holder
}

func (n *Node) newFinding(key routing.Key, o GetOptions, notify func(hit)) *finding {
	defaultTo(&o.Kind, wire.KindOpen)
	if o.Quorum <= 0 {
		o.Quorum = 1
		if o.Kind == wire.KindOwned {
			o.Quorum = 3
		}
	}
	return &finding{node: n, key: key, kind: o.Kind, quorum: o.Quorum, notify: notify, best: make(map[wire.PeerID]hit)}
}

// run looks at what this node holds itself, and then asks the network until the
// quorum is reached.
func (f *finding) run(ctx context.Context) error {
	n := f.node
	if err := n.running(); err != nil {
		return err
	}
	quorum := f.quorum
	if held := n.values.Get(time.Now(), f.kind, f.key, wire.MaxRecords); len(held) > 0 {
		for _, r := range held {
			f.add(hit{r, n.id})
		}
		if quorum--; quorum == 0 {
			return nil
		}
	}
	out, err := n.run(ctx, walk{kind: "get", target: f.key,
		options: lookupOptions{Quorum: quorum, Patient: true},
		ask:     f.ask})
	if err != nil {
		return err
	}
	if _, ok := f.winner(); !ok {
		return n.alone(out)
	}
	var without wire.PeerID
	if c, ok := out.lookup.Without(); ok {
		without = c.Addr.id
	}
	f.repair(without)
	return nil
}

// ask asks one peer for the records under the key.
func (f *finding) ask(ctx context.Context, q query, out *outcome) (reply, error) {
	n := f.node
	l, m, err := n.request(ctx, q.Addr.id, wire.FindValue{Key: f.key, Kind: f.kind, Count: n.config.K})
	if err != nil {
		return reply{}, err
	}
	v, ok := m.(wire.Value)
	if !ok {
		return reply{}, unexpected(q.Addr.id, m)
	}
	now := time.Now()
	good := false
	for _, r := range v.Records {
		if r.Record.Key != f.key || r.Record.Kind != f.kind {
			continue // not what was asked for
		}
		if !f.known(r) {
			if err := n.verify(r, now); err != nil {
				n.config.Logger.Info("record does not verify", "peer", q.Addr.id, "key", f.key, "err", err)
				continue
			}
		}
		good = true
		f.add(hit{r, q.Addr.id})
	}
	return reply{closer: out.heard(l, v.Contacts), value: good}, nil
}

// known reports whether this very record has been verified already.
func (f *finding) known(r *wire.Signed) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	h, ok := f.best[r.Record.Publisher]
	return ok && h.record.Signature == r.Signature && bytes.Equal(h.record.Payload, r.Payload)
}

// add takes in a verified record.
func (f *finding) add(h hit) {
	f.mu.Lock()
	f.all = append(f.all, h)
	old, ok := f.best[h.record.Record.Publisher]
	newer := !ok || wire.Newer(h.record, old.record)
	if newer {
		f.best[h.record.Record.Publisher] = h
	}
	f.mu.Unlock()
	if newer && f.notify != nil {
		f.notify(h)
	}
}

// winner returns the best record of any publisher.
func (f *finding) winner() (hit, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var best hit
	for _, h := range f.best {
		if best.record == nil || wire.Better(h.record, best.record) {
			best = h
		}
	}
	return best, best.record != nil
}

// repair stores the records found, in the background, where a get has shown
// them missing: at holders of an older one (read repair), and at the nearest
// node that did not have any (Kademlia §2.3, caching), if there is one.
func (f *finding) repair(without wire.PeerID) {
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
				n.hold(r)
			}
			continue
		}
		n.inBackground(func(ctx context.Context) {
			n.request(ctx, id, wire.Store{Records: records[:min(len(records), wire.MaxRecords)]})
		})
	}
}
