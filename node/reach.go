package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kadquic/kadquic/internal/swarm"
	"github.com/kadquic/kadquic/wire"
)

const (
	// provenFor is for how long an address at which we have proved a peer's key is
	// likely to be the peer's still. It gets a head start of [swarm.DialStagger] before the
	// network is asked where the peer is.
	provenFor = 10 * time.Minute

	// maxReachTries bounds the dials of one reachFor: another follows only when more
	// has become known of where the peer is than the one before knew. The last is kept
	// for the end of the lookup: addresses that refuse at once, as the lookup names
	// them, must not use up all dials before the peer's record, and so its relays, is
	// found.
	maxReachTries = 3
)

// reachFor returns a link to a peer. It dials the known addresses and looks up the peer's record at
// the same time, because known addresses may be out of date, and a dead one is silent for
// 5 seconds. The dial also tries the addresses that the lookup finds.
func (n *Node) reachFor(ctx context.Context, id wire.PeerID, wants int) (*link, error) {
	if id == n.id {
		return nil, errors.New("that is this node itself")
	}
	if c, ok := n.pool.Lookup(publicKey(id)); ok && !c.Retired() { // nearly always
		if l, err := n.linkTo(ctx, id, wants); err == nil || ctx.Err() != nil {
			return l, err
		}
	}
	n.wanted.Add(id)
	defer n.wanted.Remove(id)
	caller := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	type linked struct {
		link *link
		err  error
	}
	links, found := make(chan linked, 2*maxReachTries), make(chan error, 1)
	var tries, joins int
	var dialling, looked, looking bool
	var failed, notFound error
	dial := func() {
		tries++
		dialling = n.spawn(func() {
			l, err := n.linkTo(ctx, id, wants)
			links <- linked{l, err}
		})
		if !dialling {
			failed = ErrClosed
		}
	}
	look := func() {
		if looked {
			return
		}
		looked = true
		looking = n.spawn(func() {
			named, err := n.lookUpPeer(ctx, id, n.config.K+1, false) // to the walk's end: the first record may be an old one
			if err == nil && !named && n.peers.Record(id) == nil {
				err = ErrNotFound
			}
			found <- err
		})
		if !looking {
			notFound = ErrClosed
		}
	}
	news, _ := n.wanted.Untaken(id)
	if n.knowsWhere(id) {
		dial()
	}
	timer := time.NewTimer(n.lookAfter(id, time.Now()))
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			look()
		case <-news:
		case r := <-links:
			if r.err == nil {
				return r.link, nil
			}
			if caller.Err() != nil {
				return nil, r.err
			}
			dialling, failed = false, r.err
			look()
		case err := <-found:
			looking = false
			if notFound = err; err != nil {
				notFound = fmt.Errorf("find peer %s: %w", id, err)
			} else if tries == 0 {
				dial() // which says why it cannot
			}
		case <-caller.Done():
			return nil, context.Cause(caller)
		}
		var more bool
		most := maxReachTries - 1
		if looked && !looking {
			most = maxReachTries
		}
		if news, more = n.wanted.Untaken(id); more && !dialling && tries < most {
			n.backoff.Clear(id) // that it failed elsewhere says nothing
			dial()
		}
		if looked && !looking && !dialling && joins < maxReachTries && n.wanted.IsDialling(id) {
			// The lookup asks the peer itself, too, if another peer names it. That dial
			// has taken what the lookup found, so its outcome is awaited.
			joins++
			dial()
		}
		if looked && !looking && !dialling {
			return nil, errors.Join(failed, notFound)
		}
	}
}

// lookAfter returns how long to wait for a dial before the network is asked where the
// peer is.
func (n *Node) lookAfter(id wire.PeerID, now time.Time) time.Duration {
	if _, ok := n.pool.Lookup(publicKey(id)); ok {
		return swarm.DialStagger
	}
	if info, ok := n.peers.Peer(id); ok {
		for _, a := range info.Addrs {
			if a.Failures == 0 && !a.Success.IsZero() && now.Sub(a.Success) < provenFor {
				return swarm.DialStagger
			}
		}
	}
	return 0
}
