package node

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/internal/traversal"
	"github.com/kadquic/kadquic/peerstore"
	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

const (
	// plainAfter is when a peer that has relays is also dialled at addresses where this
	// node has never dialled it: the call has had time for six round trips of 80 ms by
	// then. Before that a packet from outside could spoil the mapping of the peer's NAT.
	plainAfter = 500 * time.Millisecond

	// maxRaceAddrs and maxRaceRelays bound the addresses that one dial tries and the relays
	// through which it calls, those that it learns of on the way included: a stranger
	// may have named them.
	maxRaceAddrs  = 2 * maxDialAddrs
	maxRaceRelays = traversal.MaxDialRelays
)

// A dialTarget is a socket address and the multiaddr it came from.
type dialTarget struct {
	addr netip.AddrPort
	from wire.Addr
}

// A race is one dial: the addresses and relays of a peer, and what became of them. One
// goroutine has it.
type race struct {
	n   *Node
	id  wire.PeerID
	ctx context.Context

	results chan raceResult
	running int // names being resolved, dials and calls

	waiting []dialTarget // to be dialled, the best first
	entered int          // addresses that were ever in waiting
	seen    []wire.Addr  // that were looked at, names included
	dials   int          // under way
	due     time.Time    // when the next address may be dialled while one is under way

	relayed bool // the peer has relays, by its latest word
	calling bool
	began   time.Time   // when the call did
	late    *time.Timer // plainAfter that
	called  []wire.PeerID
	more    chan wire.PeerID // further relays, for the call under way
	causes  []error
}

type raceResult struct {
	what     int
	conn     *quic.Conn
	errs     []error
	resolved []dialTarget
}

const (
	raceResolved = iota
	raceDialled
	raceCalled
)

// race connects to a peer by any of its addresses and relays. It dials the addresses one
// after the other, dialStagger apart (RFC 8305). It calls the peer through its relays at
// the same time. If there is no connection, it reports whether it tried anything, and
// why that failed.
func (n *Node) race(ctx context.Context, id wire.PeerID) (won *quic.Conn, tried bool, causes []error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &race{n: n, id: id, ctx: ctx,
		late:    time.NewTimer(plainAfter),
		results: make(chan raceResult, maxRaceAddrs+maxRaceRelays), more: make(chan wire.PeerID, maxRaceRelays)}
	defer r.late.Stop()
	news := n.wanted.Take(id)
	r.look()
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		if won == nil {
			if i := r.ready(); i >= 0 {
				if wait := time.Until(r.due); r.dials > 0 && wait > 0 {
					next.Reset(wait)
				} else {
					r.dial(i)
					continue
				}
			}
		}
		if r.running == 0 {
			return won, r.entered+len(r.called) > 0, r.causes
		}
		select {
		case <-next.C:
		case <-r.late.C:
		case <-news:
			news = n.wanted.Take(id)
			if won == nil {
				r.look()
			}
		case got := <-r.results:
			if c := r.take(got); c != nil && won == nil {
				won = c
				cancel()
			} else if c != nil {
				c.Close(wire.CloseDuplicate, "")
			}
		}
	}
}

// look takes in where the peer is known to be now. What is new goes first: it is likely
// to be truer than what has not answered so far.
func (r *race) look() {
	n, id := r.n, r.id
	most, mostRelays := maxRaceAddrs, maxRaceRelays
	if len(r.seen) == 0 {
		most = maxDialAddrs
	}
	if len(r.called) == 0 {
		mostRelays = traversal.MaxRelays
	}
	var fresh []dialTarget
	for _, a := range n.dialAddrs(id) {
		if slices.Contains(r.seen, a) || len(r.seen) >= most {
			continue
		}
		r.seen = append(r.seen, a)
		if ap, ok := a.AddrPort(); ok {
			fresh = append(fresh, dialTarget{ap, a})
		} else {
			r.resolve(a)
		}
	}
	r.enter(fresh)
	relays := n.callableBy(id)
	r.relayed = len(relays) > 0
	for _, relay := range relays {
		if len(r.called) < mostRelays && !slices.Contains(r.called, relay) {
			r.called = append(r.called, relay)
			r.more <- relay
		}
	}
	if len(r.more) > 0 && !r.calling {
		r.call()
	}
}

// enter adds targets to those that wait, before them, and has the first be dialled now.
func (r *race) enter(fresh []dialTarget) {
	fresh = fresh[:min(len(fresh), maxRaceAddrs-r.entered)]
	if len(fresh) > 0 {
		r.entered += len(fresh)
		r.waiting = slices.Concat(fresh, r.waiting)
		r.due = time.Now()
	}
}

// resolve looks up a name. What else is known of the peer is tried meanwhile.
func (r *race) resolve(a wire.Addr) {
	r.running++
	go func() {
		resolved, err := quic.Resolve(r.ctx, wire.JoinPeer(a, r.id))
		result := raceResult{what: raceResolved}
		for _, ap := range resolved[:min(len(resolved), maxDialAddrs)] {
			result.resolved = append(result.resolved, dialTarget{ap, a})
		}
		if err != nil && r.ctx.Err() == nil {
			r.n.config.Logger.Info("cannot resolve", "peer", r.id, "addr", a, "err", err)
			r.n.peers.Failure(r.id, a, time.Now())
			result.errs = []error{err}
		}
		r.results <- result
	}()
}

// ready returns the index of the next target that may be dialled, -1 if there is none.
func (r *race) ready() int {
	if len(r.waiting) > 0 && (!r.calling || !r.relayed || time.Since(r.began) >= plainAfter) {
		return 0
	}
	return slices.IndexFunc(r.waiting, func(t dialTarget) bool { return r.n.hasDialled(r.id, t.from) })
}

func (r *race) dial(i int) {
	t := r.waiting[i]
	r.waiting = slices.Delete(r.waiting, i, i+1)
	r.due = time.Now().Add(dialStagger)
	r.running++
	r.dials++
	go func() {
		c, err := r.n.dialOne(r.ctx, r.id, t)
		r.results <- raceResult{what: raceDialled, conn: c, errs: []error{err}}
	}()
}

// call calls the peer through the relays in more, and those that follow.
func (r *race) call() {
	r.running++
	r.calling, r.began = true, time.Now()
	r.late.Reset(plainAfter)
	go func() {
		c, err := r.n.sessions.Dial(r.ctx, r.id, r.n.wanted.Since(r.id, time.Now()), r.more)
		r.results <- raceResult{what: raceCalled, conn: c, errs: []error{err}}
	}()
}

// take takes in how an attempt ended, and returns its connection.
func (r *race) take(got raceResult) *quic.Conn {
	r.running--
	switch got.what {
	case raceResolved:
		r.enter(got.resolved)
	case raceDialled:
		if r.dials--; r.dials == 0 {
			r.due = time.Now()
		}
	case raceCalled:
		r.calling = false
		if got.conn == nil && len(r.more) > 0 && r.ctx.Err() == nil { // they became known at its end
			r.call()
		}
	}
	if got.conn == nil {
		r.causes = append(r.causes, got.errs...)
	}
	return got.conn
}

// dialAddrs returns the addresses at which to dial a peer, the best first: where we have
// proved it lately, then what the user said, then where we proved it before, and then
// what others say; within each those first at which this machine is likely to reach it.
// What was told at the same time keeps its order. Addresses that failed lately come last.
// Of the first maxDialAddrs at least one is of each scope and family that there is.
func (n *Node) dialAddrs(id wire.PeerID) []wire.Addr {
	now := time.Now()
	info, ok := n.peers.Peer(id)
	if !ok {
		return nil
	}
	class := func(a peerstore.AddrInfo) int {
		switch {
		case a.Retry.After(now):
			return 4
		case !a.Success.IsZero() && now.Sub(a.Success) < provenFor:
			return 0
		case a.Source == peerstore.SourceUser:
			return 1
		case !a.Success.IsZero():
			return 2
		}
		return 3
	}
	all := slices.DeleteFunc(info.Addrs, func(a peerstore.AddrInfo) bool { return !a.Expires.IsZero() && !a.Expires.After(now) })
	slices.SortStableFunc(all, func(a, b peerstore.AddrInfo) int {
		return cmp.Or(cmp.Compare(class(a), class(b)), n.self.Rank(ipOf(a.Addr), ipOf(b.Addr)),
			b.Success.Compare(a.Success), cmp.Compare(b.Source, a.Source),
			b.Expires.Truncate(time.Second).Compare(a.Expires.Truncate(time.Second)))
	})
	fresh := all
	if i := slices.IndexFunc(all, func(a peerstore.AddrInfo) bool { return class(a) == 4 }); i >= 0 {
		fresh = all[:i]
	}
	covered := reach.Cover(fresh, maxDialAddrs, func(a peerstore.AddrInfo) netip.Addr { return ipOf(a.Addr) })
	var addrs []wire.Addr
	for _, a := range slices.Concat(covered, all[len(fresh):]) {
		addrs = append(addrs, a.Addr)
	}
	return addrs
}

// ipOf returns the IP address of an address; that of a name is not valid.
func ipOf(a wire.Addr) netip.Addr {
	ap, _ := a.AddrPort()
	return ap.Addr()
}

// hasDialled reports whether this node has dialled a peer at an address and reached it
// there, and not failed to since.
func (n *Node) hasDialled(id wire.PeerID, at wire.Addr) bool {
	info, _ := n.peers.Peer(id)
	return slices.ContainsFunc(info.Addrs, func(a peerstore.AddrInfo) bool {
		return a.Addr == at && a.Source == peerstore.SourceDialled && a.Failures == 0
	})
}
