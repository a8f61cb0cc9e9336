package join

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/kadquic/kadquic/internal/lookup"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// FindPosition finds this node's position in the network, once it is connected to a peer of
// it: it looks up its own key and a key in every range farther away than its neighbourhood
// (Kademlia §2.3), and connects to some of the peers that these lookups named. A client, which
// no table keeps, does nothing: its lookups start from the peers that it has met.
func (j *Joiner) FindPosition(ctx context.Context) error {
	if !j.Host.IsServer() {
		return nil
	}
	out, err := j.Lookups.Nodes(ctx, "join", j.Self.Key())
	if errors.Is(err, j.Unreachable) { // the peers sent HELLO, but answered no request
		return j.Failed([]error{err})
	}
	if err != nil {
		return err
	}
	outs, err := j.lookUpEach(ctx, j.farther(out))
	if err != nil {
		return err
	}
	j.fill(ctx, append(outs, out))
	if err := j.Host.Remember(); err != nil {
		j.Logger.Warn("cannot save the peers known", "err", err)
	}
	return context.Cause(ctx)
}

// farther returns a key of each range farther away than the neighbourhood that
// the lookup of the node's own key has found. The paper also refreshes the ranges
// between the neighbourhood's edge and the nearest neighbour. The lookup has just
// covered those.
func (j *Joiner) farther(self *lookup.Outcome) []routing.Key {
	edge, found := j.Self.Key(), 0
	for c := range self.Closest() {
		edge, found = c.Key, found+1
	}
	if found < j.K {
		return nil // the lookup has found every node of the network
	}
	return slices.Collect(routing.Ranges(j.Self.Key(), edge, rand.NewPCG(rand.Uint64(), rand.Uint64())))
}

const (
	// batchFill times k connections are enough for a join. In a network of more
	// than a few hundred nodes the lookups alone open as many.
	batchFill  = 5
	fillAtOnce = 8
)

// fill connects to peers that the lookups of a join have named but not queried.
// They then are in the replacement caches, each known to be alive, and the node's
// first operations need no handshake. fill ends within the timeout of a request, so that
// a peer that names absent peers cannot delay a join.
func (j *Joiner) fill(ctx context.Context, joined []*lookup.Outcome) {
	ctx, cancel := context.WithTimeout(ctx, j.RPCTimeout)
	defer cancel()
	named := make(map[wire.PeerID]*lookup.Outcome)
	for _, out := range joined {
		for id := range out.Named() {
			named[id] = out
		}
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, fillAtOnce)
	for id, out := range named {
		if id == j.Self || j.Host.IsConnected(id) {
			continue
		}
		slots <- struct{}{}
		if j.Host.Connections() >= batchFill*j.K || ctx.Err() != nil {
			break
		}
		wg.Go(func() {
			defer func() { <-slots }()
			out.ApplyReferrals(id)
			ctx, cancel := context.WithTimeout(ctx, j.Host.DialTimeout(id))
			defer cancel()
			j.Host.Connect(ctx, id) // the dial records a failure, and may go on
		})
	}
	wg.Wait()
}

// RefreshStale looks up a random key of every bucket that no lookup has touched for the
// refresh interval (Kademlia §2.3). It runs once a minute.
func (j *Joiner) RefreshStale(ctx context.Context) {
	if j.RefreshInterval > 0 {
		_ = j.Refresh(ctx, time.Now().Add(-j.RefreshInterval)) // lookUpEach logs what fails
	}
}

// Refresh looks up a random key of every bucket that no lookup has touched since before.
func (j *Joiner) Refresh(ctx context.Context, before time.Time) error {
	targets, _ := j.Table.Stale(before)
	_, err := j.lookUpEach(ctx, targets)
	return err
}

// lookUpEach looks up targets one after the other. It skips a target whose lookup fails
// because no peer answers: the table may have no contact in that range yet.
func (j *Joiner) lookUpEach(ctx context.Context, targets []routing.Key) ([]*lookup.Outcome, error) {
	var outs []*lookup.Outcome
	for _, target := range targets {
		out, err := j.Lookups.Nodes(ctx, "refresh", target)
		switch {
		case err == nil:
			outs = append(outs, out)
		case ctx.Err() != nil || errors.Is(err, j.Closed):
			return outs, err
		default:
			j.Logger.Info("refresh", "err", err)
		}
	}
	return outs, nil
}
