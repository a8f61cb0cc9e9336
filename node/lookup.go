package node

import (
	"context"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/kadquic/kadquic/internal/lookup"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// A Contact is a peer and its addresses.
type Contact = wire.Contact

// newLookups returns the runner of the node's lookups.
func (n *Node) newLookups() *lookup.Runner {
	return lookup.New(lookup.Config{
		Self:        n.id,
		K:           n.config.K,
		Alpha:       n.config.Alpha,
		Refs:        &n.refs,
		Table:       n.routes,
		Host:        lookupHost{n},
		Closing:     n.ctx,
		Unreachable: ErrUnreachable,
	})
}

// lookupHost is the node as lookups see it.
type lookupHost struct{ n *Node }

func (h lookupHost) Running() error                        { return h.n.running() }
func (h lookupHost) IsServer() bool                        { return h.n.mode() == wire.ModeServer }
func (h lookupHost) Bootstrap(ctx context.Context) error   { return h.n.joiner.Meet(ctx) }
func (h lookupHost) Timeout(q lookup.Query) time.Duration  { return h.n.softTimeout(q) }
func (h lookupHost) Patience(q lookup.Query) time.Duration { return h.n.patience(q) }
func (h lookupHost) Refused(id wire.PeerID, c wire.Code) error {
	return &RemoteError{Peer: id, Code: c}
}
func (h lookupHost) AddReferral(from netip.Addr, c wire.Contact, now time.Time) {
	h.n.learn(from, c, now)
}

func (h lookupHost) IsConnected(id wire.PeerID) bool {
	l := h.n.linkWith(id)
	return l != nil && l.IsUp()
}

func (h lookupHost) Request(ctx context.Context, id wire.PeerID, m wire.Message) (lookup.Peer, wire.Message, error) {
	l, reply, err := h.n.request(ctx, id, m)
	return l, reply, err
}

func (h lookupHost) Observe(ctx context.Context, kind string, target routing.Key) lookup.Observer {
	ts := h.n.tracers(ctx)
	if ts.none() {
		return nil
	}
	o := &lookupTrace{ts, lookupIDs.Add(1)}
	emit(ts, func(t *Trace) func(LookupStart) { return t.Lookup }, LookupStart{o.id, kind, target})
	return o
}

var lookupIDs atomic.Uint64

// A lookupTrace reports the steps of one lookup to the tracers of an operation.
type lookupTrace struct {
	ts tracers
	id uint64
}

func (o *lookupTrace) Query(q lookup.Query, cpl int) {
	emit(o.ts, func(t *Trace) func(QueryEvent) { return t.Query }, QueryEvent{o.id, q.Addr.ID, q.Key, cpl, q.Hop, q.Store})
}

func (o *lookupTrace) Answer(q lookup.Query, cpl int, rtt time.Duration, closer int, value bool) {
	emit(o.ts, func(t *Trace) func(AnswerEvent) { return t.Answer }, AnswerEvent{o.id, q.Addr.ID, cpl, q.Store, rtt, closer, value})
}

func (o *lookupTrace) Fail(q lookup.Query, cpl int, err error) {
	emit(o.ts, func(t *Trace) func(FailEvent) { return t.Fail }, FailEvent{o.id, q.Addr.ID, cpl, q.Store, err})
}

func (o *lookupTrace) Done(found, queries, failed int, took time.Duration) {
	emit(o.ts, func(t *Trace) func(LookupDone) { return t.Done }, LookupDone{o.id, found, queries, failed, took})
}

// Nearest returns the k nodes nearest to key, the nearest first. Each of them has answered.
// This node is among them if it is a server and near enough. Nearest is the node lookup of
// Kademlia §2.3.
func (n *Node) Nearest(ctx context.Context, key routing.Key) ([]Contact, error) {
	out, err := n.lookups.Nodes(ctx, "lookup", key)
	if err != nil {
		return nil, err
	}
	var contacts []Contact
	for c := range out.Closest() {
		if c.Addr.ID == n.id {
			contacts = append(contacts, n.contact(n.id))
			continue
		}
		contacts = append(contacts, Contact{ID: c.Addr.ID, Addrs: c.Addr.Addrs()})
	}
	return contacts, nil
}

// contact returns a peer with its known addresses, as the node reports it to its user.
func (n *Node) contact(id wire.PeerID) Contact {
	if id == n.id {
		return Contact{ID: id, Addrs: n.addrs()}
	}
	return Contact{ID: id, Addrs: n.peers.AppendAddrs(nil, id, time.Now())}
}

// FindNodeAt sends a single FIND_NODE to one peer, and returns the contacts nearest to key that
// the peer knows.
func (n *Node) FindNodeAt(ctx context.Context, id wire.PeerID, key routing.Key) ([]Contact, error) {
	if err := n.ready(ctx); err != nil {
		return nil, err
	}
	_, nodes, err := n.lookups.FindNode(ctx, id, key)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", id, err)
	}
	return nodes.Contacts, nil
}
