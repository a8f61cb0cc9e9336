package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/kadquic/kadquic/internal/peerref"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// A Contact is a peer, and where it can be reached.
type Contact = wire.Contact

// A reply is what one peer answered to one query of a walk.
type reply struct {
	closer []contact
	value  bool
}

// A walk is one iterative lookup of ours: routing.Lookup decides whom to ask,
// ask does it.
type walk struct {
	kind    string // for the trace
	target  routing.Key
	also    []contact // to begin with, beside those of the table
	options lookupOptions
	ask     func(context.Context, query, *outcome) (reply, error)
}

// outcome is what a walk leaves behind.
type outcome struct {
	lookup *routing.Lookup[*peerref.Ref]

	mu        sync.Mutex
	referrals []referral
	answered  map[wire.PeerID]bool // peers that answered anything at all
	causes    map[wire.PeerID]error
	lastErr   error
}

// run drives the walk to its end. The error is the context's, or that there was
// nobody to ask.
func (n *Node) run(ctx context.Context, w walk) (*outcome, error) {
	if err := n.ready(ctx); err != nil {
		return nil, err
	}
	seeds, err := n.seeds(ctx, w.target)
	o := w.options
	o.K, o.Alpha = n.config.K, n.config.Alpha
	o.Self, o.CountSelf = n.refs.Of(n.id).Contact(), n.mode() == wire.ModeServer
	o.Timeout = n.softTimeout
	if o.Patience == nil {
		o.Patience = n.patience
	}
	out := &outcome{
		lookup:   routing.NewLookup(w.target, slices.Values(append(seeds, w.also...)), o),
		answered: make(map[wire.PeerID]bool),
		causes:   make(map[wire.PeerID]error),

		lastErr: err, // why there is nobody to ask, if so
	}
	n.counters.lookups.Add(1)
	ts := n.tracers(ctx)
	var id uint64
	if !ts.none() {
		id = lookupIDs.Add(1)
		emit(ts, func(t *Trace) func(LookupStart) { return t.Lookup }, LookupStart{id, w.kind, w.target})
	}
	start := time.Now()
	err = out.lookup.Run(ctx, func(asking context.Context, q query) (routing.Reply[*peerref.Ref], error) {
		asked, wait := time.Now(), n.softTimeout(q)+o.Patience(q)
		r, err := n.step(asking, ts, id, w, q, out)
		if now := time.Now(); err != nil && asking.Err() != nil && ctx.Err() == nil && now.Sub(asked) >= wait {
			q.Addr.MarkSilent(now) // the walk has ended without it
			out.mu.Lock()
			out.causes[q.Addr.ID] = errTimeout
			out.mu.Unlock()
			emit(ts, func(t *Trace) func(FailEvent) { return t.Fail },
				FailEvent{id, q.Addr.ID, q.Key.CommonPrefixLen(w.target), q.Store, errTimeout})
		}
		return r, err
	})
	if err == nil && n.ctx.Err() != nil { // nobody answered because we are the ones who are gone
		err = ErrClosed
	}
	if err == nil { // only now: meeting peers may have split the bucket
		n.routes.Looked(w.target, time.Now())
	}
	if !ts.none() {
		stats := out.lookup.Stats()
		found := len(slices.Collect(out.lookup.Closest()))
		emit(ts, func(t *Trace) func(LookupDone) { return t.Done },
			LookupDone{id, found, stats.Queries, len(out.causes), time.Since(start)})
	}
	return out, err
}

// step asks one peer.
func (n *Node) step(ctx context.Context, ts tracers, id uint64, w walk, q query, out *outcome) (routing.Reply[*peerref.Ref], error) {
	traced := !ts.none()
	cpl := 0
	if traced {
		cpl = q.Key.CommonPrefixLen(w.target)
		emit(ts, func(t *Trace) func(QueryEvent) { return t.Query }, QueryEvent{id, q.Addr.ID, q.Key, cpl, q.Hop, q.Store})
	}
	start := time.Now()
	peer := q.Addr.ID
	c, connected := n.pool.Lookup(publicKey(peer))
	if !connected || !c.Value.(*link).IsUp() {
		out.applyReferrals(n, peer)
	}
	r, err := w.ask(ctx, q, out)
	out.mu.Lock()
	if err == nil {
		out.answered[peer] = true
	} else if !errors.Is(err, context.Canceled) {
		out.causes[peer] = err
		out.lastErr = err
		if remote := (*RemoteError)(nil); errors.As(err, &remote) {
			out.answered[peer] = true
		}
	}
	out.mu.Unlock()
	if traced && err == nil {
		emit(ts, func(t *Trace) func(AnswerEvent) { return t.Answer },
			AnswerEvent{id, q.Addr.ID, cpl, q.Store, time.Since(start), len(r.closer), r.value})
	} else if traced && ctx.Err() == nil {
		emit(ts, func(t *Trace) func(FailEvent) { return t.Fail }, FailEvent{id, q.Addr.ID, cpl, q.Store, err})
	}
	return routing.Reply[*peerref.Ref]{Closer: r.closer, Value: r.value}, err
}

// seeds are the 2k nearest of the table, of which a lookup needs the farther half
// only where nearer ones fail. With nobody in it, as in a client that
// has only just begun, the bootstrap peers are asked again.
func (n *Node) seeds(ctx context.Context, target routing.Key) ([]contact, error) {
	near := n.nearest(target)
	if len(near) > 0 || len(n.bootstrap.list()) == 0 {
		return near, nil
	}
	err := n.meetBootstrap(ctx)
	return n.nearest(target), err
}

func (n *Node) nearest(target routing.Key) []contact {
	return n.routes.Nearest(make([]contact, 0, 2*n.config.K), target, 2*n.config.K)
}

// findNode asks one peer for the contacts nearest to key, and returns the link
// it answered by.
func (n *Node) findNode(ctx context.Context, id wire.PeerID, key routing.Key) (wire.Nodes, *link, error) {
	l, m, err := n.request(ctx, id, wire.FindNode{Key: key, Count: n.config.K})
	if err != nil {
		return wire.Nodes{}, nil, err
	}
	nodes, ok := m.(wire.Nodes)
	if !ok {
		return wire.Nodes{}, nil, unexpected(id, m)
	}
	return nodes, l, nil
}

// A referral is what one peer said of others.
type referral struct {
	by       *link
	contacts []wire.Contact
}

// addReferrals takes in the contacts that a peer names. Where they are is looked at
// only when one of them is to be dialled: nearly all are connected already, or
// never asked.
func (out *outcome) addReferrals(l *link, told []wire.Contact) []contact {
	if len(told) == 0 {
		return nil
	}
	out.mu.Lock()
	out.referrals = append(out.referrals, referral{l, told})
	out.mu.Unlock()
	return l.node.refs.Contacts(told)
}

// applyReferrals enters into the peerstore where a peer is that others have named.
func (out *outcome) applyReferrals(n *Node, id wire.PeerID) {
	now := time.Now()
	out.mu.Lock()
	defer out.mu.Unlock()
	for _, t := range out.referrals {
		for _, c := range t.contacts {
			if c.ID == id {
				n.learn(t.by.addr.Addr(), c, now)
			}
		}
	}
}

// refused notes that a peer answered, and did not do what it was asked.
func (out *outcome) refused(id wire.PeerID, code wire.Code) {
	out.mu.Lock()
	defer out.mu.Unlock()
	out.causes[id] = &RemoteError{Peer: id, Code: code}
}

// Nearest returns the k nodes nearest to key, nearest first, every one of which
// has answered; this node among them when it is a server and near enough. It
// is the lookup of Kademlia §2.3.
func (n *Node) Nearest(ctx context.Context, key routing.Key) ([]Contact, error) {
	out, err := n.walkTo(ctx, "lookup", key)
	if err != nil {
		return nil, err
	}
	var contacts []Contact
	for c := range out.lookup.Closest() {
		if c.Addr.ID == n.id {
			contacts = append(contacts, n.contact(n.id))
			continue
		}
		contacts = append(contacts, Contact{ID: c.Addr.ID, Addrs: c.Addr.Addrs()})
	}
	return contacts, nil
}

// walkTo looks up key for nothing but the contacts near it. It begins with those
// of the table, and others given.
func (n *Node) walkTo(ctx context.Context, kind string, key routing.Key, also ...contact) (*outcome, error) {
	out, err := n.run(ctx, walk{kind: kind, target: key, also: also,
		ask: func(ctx context.Context, q query, out *outcome) (reply, error) {
			nodes, l, err := n.findNode(ctx, q.Addr.ID, key)
			return reply{closer: out.addReferrals(l, nodes.Contacts)}, err
		}})
	if err != nil {
		return nil, fmt.Errorf("%s of %s: %w", kind, key, err)
	}
	if err := n.alone(out); err != nil {
		return nil, fmt.Errorf("%s of %s: %w", kind, key, err)
	}
	return out, nil
}

// alone returns an error when a walk met nobody though there was somebody to
// meet: a lone server's own answers are good, a client's are none.
func (n *Node) alone(out *outcome) error {
	if len(out.answered) > 0 {
		return nil
	}
	if out.lastErr != nil {
		return fmt.Errorf("%w: no peer answered: %v", ErrUnreachable, out.lastErr)
	}
	if n.mode() == wire.ModeClient {
		return fmt.Errorf("%w: no peer is known", ErrUnreachable)
	}
	return nil
}

// contact tells what we know of a peer to our user.
func (n *Node) contact(id wire.PeerID) Contact {
	if id == n.id {
		return Contact{ID: id, Addrs: n.addrs()}
	}
	return Contact{ID: id, Addrs: n.peers.AppendAddrs(nil, id, time.Now())}
}

// Ask asks one peer, and no other, for the contacts it knows nearest to key:
// a single FIND_NODE.
func (n *Node) Ask(ctx context.Context, id wire.PeerID, key routing.Key) ([]Contact, error) {
	if err := n.ready(ctx); err != nil {
		return nil, err
	}
	nodes, _, err := n.findNode(ctx, id, key)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", id, err)
	}
	return nodes.Contacts, nil
}
