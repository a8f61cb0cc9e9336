package node

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/internal/lookup"
	"github.com/kadquic/kadquic/peerstore"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// bootstrap is the list of peers through which to join, now and whenever the
// table has run empty.
type bootstrap struct {
	mu      sync.Mutex
	targets []target
	failed  error         // of the latest attempt to meet one; nil if it succeeded, or none has ended
	trying  int           // attempts under way
	ended   chan struct{} // closed when no attempt is under way any more; nil: no goroutine waits
}

func (b *bootstrap) begin() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trying++
}

func (b *bootstrap) end(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failed = err
	if b.trying--; b.trying == 0 && b.ended != nil {
		close(b.ended)
		b.ended = nil
	}
}

// underway returns a channel that is closed when no attempt is under way any more; nil if
// none is.
func (b *bootstrap) underway() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.trying > 0 && b.ended == nil {
		b.ended = make(chan struct{})
	}
	return b.ended
}

func (b *bootstrap) list() []target {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.targets
}

func (b *bootstrap) add(targets []target) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, t := range targets {
		if !slices.Contains(b.targets, t) {
			b.targets = append(slices.Clone(b.targets), t)
		}
	}
}

// Bootstrap joins the network through the given peers, each with its /p2p/ID,
// in addition to Config.Bootstrap. It returns when the node has found its
// position in the network: it has looked up its own key and a key in every range
// farther away than its neighbourhood (Kademlia §2.3). It has also connected to some
// of the peers that these lookups named, so that it has up to 5k connections. It tries
// the peers known from an earlier run as well; without arguments, only the peers known
// already. If no peer answers, the error is a *BootstrapError, and the node retries in
// the background.
func (n *Node) Bootstrap(ctx context.Context, peers ...ma.Multiaddr) error {
	if err := n.ready(ctx); err != nil {
		return err
	}
	targets, err := splitBootstrap(peers)
	if err != nil {
		return err
	}
	n.bootstrap.add(targets)
	return n.join(ctx)
}

func (n *Node) join(ctx context.Context) error {
	defer n.replica.Settle() // the peers that a node meets while it joins are not newcomers
	n.bootstrap.begin()
	err := n.meetBootstrap(ctx)
	n.bootstrap.end(err)
	if err != nil {
		return err
	}
	n.probeBeforeJoin(ctx)
	defer n.relays.poke() // the node knows now whether it is behind a NAT
	defer n.reachProbe.poke()
	return n.settle(ctx)
}

// cutOff returns why a node with bootstrap peers is connected to no network: its table
// has no live contact, and no bootstrap peer has answered. It returns nil for any other
// node. A node without bootstrap peers is the first of its network.
func (n *Node) cutOff() error {
	n.bootstrap.mu.Lock()
	others := slices.ContainsFunc(n.bootstrap.targets, func(t target) bool { return t.id != n.id })
	failed := n.bootstrap.failed
	n.bootstrap.mu.Unlock()
	switch {
	case !others || !n.lonely():
		return nil
	case failed == nil:
		return fmt.Errorf("%w: no bootstrap peer has answered yet", ErrUnreachable)
	}
	return failed
}

// joinWait bounds how long a put waits for an attempt to join that is under way.
const joinWait = 2 * time.Second

// awaitJoin waits up to joinWait for the attempt to join that is under way, if the node
// is cut off: it has just been started, or has just been given bootstrap peers.
func (n *Node) awaitJoin(ctx context.Context) {
	if n.cutOff() == nil {
		return
	}
	ended := n.bootstrap.underway()
	if ended == nil {
		return
	}
	timer := time.NewTimer(joinWait)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
	case <-ctx.Done():
	case <-n.ctx.Done():
	}
}

// settle finds the node's position in the network, once it is connected to a peer of it.
func (n *Node) settle(ctx context.Context) error {
	if n.mode() == wire.ModeClient { // no table keeps a client; its lookups start from the peer that it has met
		return nil
	}
	out, err := n.lookups.Nodes(ctx, "join", n.key)
	if errors.Is(err, ErrUnreachable) { // the peers sent HELLO, but answered no request
		return &BootstrapError{[]error{err}}
	}
	if err != nil {
		return err
	}
	outs, err := n.walkAll(ctx, n.farther(out))
	if err != nil {
		return err
	}
	n.fill(ctx, append(outs, out))
	if err := n.remember(); err != nil {
		n.config.Logger.Warn("cannot save the peers known", "err", err)
	}
	return context.Cause(ctx)
}

// farther returns a key of each range farther away than the neighbourhood that
// the lookup of the node's own key has found. The paper also refreshes the ranges
// between the neighbourhood's edge and the nearest neighbour. The lookup has just
// covered those.
func (n *Node) farther(self *lookup.Outcome) []routing.Key {
	edge, found := n.key, 0
	for c := range self.Closest() {
		edge, found = c.Key, found+1
	}
	if found < n.config.K {
		return nil // the lookup has found every node of the network
	}
	return slices.Collect(routing.Ranges(n.key, edge, rand.NewPCG(rand.Uint64(), rand.Uint64())))
}

const (
	// maxMeet times k connections are enough for a join. In a network of more
	// than a few hundred nodes the lookups alone open as many.
	maxMeet    = 5
	meetAtOnce = 8
)

// fill connects to peers that the lookups of a join have named but not queried.
// They then are in the replacement caches, each known to be alive, and the node's
// first operations need no handshake. fill is bounded by Config.RPCTimeout, so that
// a peer that names absent peers cannot delay a join.
func (n *Node) fill(ctx context.Context, joined []*lookup.Outcome) {
	ctx, cancel := context.WithTimeout(ctx, n.config.RPCTimeout)
	defer cancel()
	named := make(map[wire.PeerID]*lookup.Outcome)
	for _, out := range joined {
		for id := range out.Named() {
			named[id] = out
		}
	}
	var wg sync.WaitGroup
	places := make(chan struct{}, meetAtOnce)
	for id, out := range named {
		if id == n.id {
			continue
		}
		if _, met := n.pool.Lookup(publicKey(id)); met {
			continue
		}
		places <- struct{}{}
		if n.pool.Len() >= maxMeet*n.config.K || ctx.Err() != nil {
			break
		}
		wg.Go(func() {
			defer func() { <-places }()
			out.ApplyReferrals(id)
			ctx, cancel := context.WithTimeout(ctx, n.softTimeout(lookup.Query{Contact: n.refs.Of(id).Contact()}))
			defer cancel()
			n.link(ctx, id) // dial records a failure; it continues for dialLinger
		})
	}
	wg.Wait()
}

// meetBootstrap connects to the bootstrap peers, all at once. One that answers
// is enough: the others then have one more second.
func (n *Node) meetBootstrap(ctx context.Context) error {
	targets := n.bootstrap.list()
	if len(targets) == 0 {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan error, len(targets))
	var meet []target
	for _, t := range targets {
		if t.id == n.id {
			continue // all nodes may share one list, which then names this node too
		}
		if t.addr != "" { // before any dial: targets with one ID share a dial, which tries all addresses
			n.peers.Add(t.id, peerstore.SourceUser, time.Now(), 0, t.addr)
		}
		meet = append(meet, t)
	}
	for _, t := range meet {
		go func() { results <- n.meetServer(ctx, t) }()
	}
	var causes []error
	var grace <-chan time.Time
	met := len(meet) == 0
	for range meet {
		select {
		case err := <-results:
			if err != nil {
				causes = append(causes, err)
			} else if !met {
				met = true
				timer := time.NewTimer(time.Second)
				defer timer.Stop()
				grace = timer.C
			}
		case <-grace:
			return nil
		}
	}
	if met {
		return nil
	}
	return &BootstrapError{causes}
}

// meetServer connects to a peer through which to join.
func (n *Node) meetServer(ctx context.Context, t target) error {
	if err := n.meet(ctx, t); ctx.Err() != nil && err != nil {
		return fmt.Errorf("peer %s has not answered yet: %w", t.id, err)
	} else if err != nil {
		return err
	}
	if p, ok := n.peers.Peer(t.id); ok && p.Mode == wire.ModeClient {
		return fmt.Errorf("peer %s is a client, through which nobody can join", t.id)
	}
	return nil
}

// refresh looks up a random key of every bucket that no lookup has touched
// since before (Kademlia §2.3).
func (n *Node) refresh(ctx context.Context, before time.Time) error {
	targets, _ := n.routes.Stale(before)
	_, err := n.walkAll(ctx, targets)
	return err
}

// walkAll looks up targets one after the other. It skips a target whose lookup fails
// because no peer answers: the table may have no contact in that range yet.
func (n *Node) walkAll(ctx context.Context, targets []routing.Key) ([]*lookup.Outcome, error) {
	var outs []*lookup.Outcome
	for _, target := range targets {
		out, err := n.lookups.Nodes(ctx, "refresh", target)
		switch {
		case err == nil:
			outs = append(outs, out)
		case ctx.Err() != nil || errors.Is(err, ErrClosed):
			return outs, err
		default:
			n.config.Logger.Info("refresh", "err", err)
		}
	}
	return outs, nil
}

// lonely reports whether the table has no contact that is considered alive.
func (n *Node) lonely() bool {
	return !n.routes.HasLive()
}

// rejoin joins again, with backoff from 1 second to 1 minute, while the node has no
// live contact and knows a bootstrap peer.
func (n *Node) rejoin(ctx context.Context) {
	wait := time.Second
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		switch {
		case !n.lonely() || len(n.bootstrap.list()) == 0:
			wait = time.Second
		default:
			attempt, cancel := context.WithTimeout(ctx, time.Minute)
			err := n.join(attempt)
			cancel()
			if err == nil {
				n.config.Logger.Info("joined", "peers", n.Stats().Peers)
				wait = time.Second
				break
			}
			n.config.Logger.Warn("cannot join", "err", err, "again in", fmt.Sprint(wait))
			wait = min(2*wait, time.Minute)
		}
		timer.Reset(wait + rand.N(wait/4))
	}
}
