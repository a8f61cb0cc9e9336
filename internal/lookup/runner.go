// Package lookup runs iterative lookups over the network (Kademlia §2.3). routing.Lookup
// decides which peer to ask next; this package sends the requests, remembers what peers
// said of other peers, and reports the steps to an Observer.
package lookup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/kadquic/kadquic/internal/peerref"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// errTimeout is the cause of a peer that has left a request unanswered until the end
// of the lookup.
var errTimeout = fmt.Errorf("%w: no answer in time", context.DeadlineExceeded)

// A Runner runs the lookups of one node. Make it with New. Goroutines may share it.
type Runner struct {
	Config
	count atomic.Int64
}

// New makes a Runner. It starts nothing.
func New(c Config) *Runner { return &Runner{Config: c} }

// Count returns how many lookups have begun.
func (r *Runner) Count() int64 { return r.count.Load() }

// A Lookup describes one iterative lookup.
type Lookup struct {
	Kind    string // for the observer
	Target  routing.Key
	Seeds   []Contact // to begin with, beside contacts of the table
	Options Options   // Run sets K, Alpha, Self, CountSelf and Timeout, and Patience if nil
	// Ask sends a query to its peer. Run calls it from many goroutines. Its context ends
	// with the lookup.
	Ask func(context.Context, Query, *Outcome) (Reply, error)
}

// A Reply is the answer of one peer to one query.
type Reply struct {
	Closer []Contact
	Value  bool // it holds a valid record
}

// Run drives a lookup to its end. The error comes from ctx or the host. Without an
// outcome the lookup has not begun. An outcome without any answer is no error: see
// Reached.
func (r *Runner) Run(ctx context.Context, w Lookup) (*Outcome, error) {
	if err := r.Host.Running(); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	seeds, err := r.seeds(ctx, w.Target)
	o := w.Options
	o.K, o.Alpha = r.K, r.Alpha
	o.Self, o.CountSelf = r.Refs.Of(r.Self).Contact(), r.Host.IsServer()
	o.Timeout = r.Host.Timeout
	if o.Patience == nil {
		o.Patience = r.Host.Patience
	}
	out := &Outcome{
		config:   &r.Config,
		lookup:   routing.NewLookup(w.Target, slices.Values(append(seeds, w.Seeds...)), o),
		answered: make(map[wire.PeerID]bool),
		causes:   make(map[wire.PeerID]error),
		lastErr:  err,
	}
	r.count.Add(1)
	observer := r.Host.Observe(ctx, w.Kind, w.Target)
	start := time.Now()
	err = out.lookup.Run(ctx, func(asking context.Context, q Query) (routing.Reply[*peerref.Ref], error) {
		asked, wait := time.Now(), o.Timeout(q)+o.Patience(q)
		reply, err := r.step(asking, observer, &w, q, out)
		if now := time.Now(); err != nil && asking.Err() != nil && ctx.Err() == nil && now.Sub(asked) >= wait {
			q.Addr.MarkSilent(now) // the lookup has ended without it
			out.setCause(q.Addr.ID, errTimeout)
			if observer != nil {
				observer.Fail(q, q.Key.CommonPrefixLen(w.Target), errTimeout)
			}
		}
		return routing.Reply[*peerref.Ref]{Closer: reply.Closer, Value: reply.Value}, err
	})
	if err == nil && r.Closing.Err() != nil { // no peer answered because this node is closing
		err = r.Host.Running()
	}
	if err == nil { // only now: the lookup may have split the bucket
		r.Table.Looked(w.Target, time.Now())
	}
	if observer != nil {
		found := 0
		for range out.lookup.Closest() {
			found++
		}
		observer.Done(found, out.lookup.Stats().Queries, len(out.causes), time.Since(start))
	}
	return out, err
}

// step asks one peer.
func (r *Runner) step(ctx context.Context, observer Observer, w *Lookup, q Query, out *Outcome) (Reply, error) {
	cpl := 0
	if observer != nil {
		cpl = q.Key.CommonPrefixLen(w.Target)
		observer.Query(q, cpl)
	}
	start := time.Now()
	peer := q.Addr.ID
	if !r.Host.IsConnected(peer) {
		out.ApplyReferrals(peer)
	}
	reply, err := w.Ask(ctx, q, out)
	out.mu.Lock()
	if err == nil {
		out.answered[peer] = true
	} else if !errors.Is(err, context.Canceled) {
		out.causes[peer] = err
		out.lastErr = err
		if code := wire.CodeOK; errors.As(err, &code) {
			out.answered[peer] = true
		}
	}
	out.mu.Unlock()
	if observer != nil && err == nil {
		observer.Answer(q, cpl, time.Since(start), len(reply.Closer), reply.Value)
	} else if observer != nil && ctx.Err() == nil {
		observer.Fail(q, cpl, err)
	}
	return reply, err
}

// seeds returns the 2k contacts of the table nearest to the target. A lookup needs the
// farther half only where nearer ones fail. While the table is empty, as in a client
// that has just begun, seeds connects to the bootstrap peers first; the error says why
// that failed.
func (r *Runner) seeds(ctx context.Context, target routing.Key) ([]Contact, error) {
	if near := r.nearest(target); len(near) > 0 {
		return near, nil
	}
	err := r.Host.Bootstrap(ctx)
	return r.nearest(target), err
}

func (r *Runner) nearest(target routing.Key) []Contact {
	return r.Table.Nearest(make([]Contact, 0, 2*r.K), target, 2*r.K)
}

// Nodes looks up the k nodes nearest to a key, beginning with the contacts of the table
// and the seeds. The error wraps Config.Unreachable if no peer has answered: see Reached.
func (r *Runner) Nodes(ctx context.Context, kind string, key routing.Key, seeds ...Contact) (*Outcome, error) {
	return r.nodes(ctx, Lookup{Kind: kind, Target: key, Seeds: seeds})
}

// PatientNodes is Nodes, but waits for every one of the k nearest to answer or to fail.
func (r *Runner) PatientNodes(ctx context.Context, kind string, key routing.Key) (*Outcome, error) {
	return r.nodes(ctx, Lookup{Kind: kind, Target: key, Options: Options{Patient: true}})
}

func (r *Runner) nodes(ctx context.Context, w Lookup) (*Outcome, error) {
	w.Ask = func(ctx context.Context, q Query, out *Outcome) (Reply, error) {
		return r.AskForNodes(ctx, q, w.Target, out)
	}
	out, err := r.Run(ctx, w)
	if err == nil {
		err = r.Reached(out)
	}
	if err != nil {
		return nil, fmt.Errorf("%s of %s: %w", w.Kind, w.Target, err)
	}
	return out, nil
}

// AskForNodes sends FIND_NODE for a query.
func (r *Runner) AskForNodes(ctx context.Context, q Query, key routing.Key, out *Outcome) (Reply, error) {
	p, nodes, err := r.FindNode(ctx, q.Addr.ID, key)
	if err != nil {
		return Reply{}, err
	}
	return Reply{Closer: out.AddReferrals(p, nodes.Contacts)}, nil
}

// FindNode asks one peer for the k contacts that it knows nearest to a key.
func (r *Runner) FindNode(ctx context.Context, id wire.PeerID, key routing.Key) (Peer, wire.Nodes, error) {
	p, m, err := r.Host.Request(ctx, id, wire.FindNode{Key: key, Count: r.K})
	if err != nil {
		return nil, wire.Nodes{}, err
	}
	nodes, ok := m.(wire.Nodes)
	if !ok {
		return nil, wire.Nodes{}, Unexpected(id, m)
	}
	return p, nodes, nil
}

// Unexpected is the error for a reply of another type than the request's.
func Unexpected(id wire.PeerID, m wire.Message) error {
	return fmt.Errorf("peer %s answered with %T, which is no answer to the request", id, m)
}

// Reached returns an error if no peer has answered a lookup and this node's own answer
// does not count: the node is a client, or knows peers, none of which answered. The
// answer of a server that knows no peer is right: it is the only node of its network.
func (r *Runner) Reached(out *Outcome) error {
	switch {
	case len(out.answered) > 0:
		return nil
	case out.lastErr != nil:
		return fmt.Errorf("%w: no peer answered: %v", r.Unreachable, out.lastErr)
	case !r.Host.IsServer():
		return fmt.Errorf("%w: no peer is known", r.Unreachable)
	}
	return nil
}
