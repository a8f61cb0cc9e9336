package node

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/kadquic/kadquic/internal/background"
	"github.com/kadquic/kadquic/peerstore"
	"github.com/kadquic/kadquic/wire"
)

// A task is one thing a node does in the background, from Start to Close.
type task struct {
	name string
	run  func(context.Context) // until the context ends
}

// tasks returns all tasks. A node also has one goroutine for the accept of each socket, two for each
// connection (requests, application streams) and a third if it carries relayed packets, one
// for each reservation at a relay, and those of running operations, repairs, hand-overs and
// calls.
func (n *Node) tasks() []task {
	tasks := []task{
		{"rejoin", n.joiner.Rejoin},
		{"refresh", every(time.Minute, n.joiner.RefreshStale)},
		{"liveness", every(time.Second, n.pingSuspects)},
		{"expire", every(time.Minute, n.expire)},
		{"announce", every(time.Minute, n.announceAddrs)},
		{"remember", every(lookWhatIsNew, n.rememberPeers)},
		{"publish", everyOr(10*time.Second, n.publishing, n.publishSelf)},
		{"republish", every(time.Minute, n.replica.Republish)},
		{"hand over", n.replica.HandOver},
		{"renew", n.renewer.Run},
		{"retract", every(time.Minute, n.renewer.RetractDue)},
		{"reserve", n.relays.Run},
		{"relay", every(5*time.Second, n.tendRelays)},
		{"store", n.responder.WriteStores},
	}
	if n.asks() && !n.self.OnLoopback() {
		tasks = append(tasks, task{"reach", n.watchReach})
	}
	if !n.self.OnLoopback() {
		tasks = append(tasks, task{"NAT", n.sessions.MonitorMapping})
	}
	if n.config.Discovery != nil {
		tasks = append(tasks, task{"discover", n.joiner.Discover})
	}
	for _, m := range n.mappers {
		tasks = append(tasks, task{"map port", n.keepMapped(m)})
	}
	return tasks
}

// every calls f once per interval, a little jittered so that nodes started
// together do not act together.
func every(interval time.Duration, f func(context.Context)) func(context.Context) {
	return everyOr(interval, nil, f)
}

// everyOr is every, and calls f also when told.
func everyOr(interval time.Duration, told <-chan struct{}, f func(context.Context)) func(context.Context) {
	return func(ctx context.Context) {
		timer := time.NewTimer(interval/2 + rand.N(interval))
		defer timer.Stop()
		for {
			select {
			case <-timer.C:
				f(ctx)
				timer.Reset(interval*7/8 + rand.N(interval/4))
			case <-told:
				f(ctx)
			case <-ctx.Done():
				return
			}
		}
	}
}

// pingSuspects asks contacts that did not answer whether they are back.
func (n *Node) pingSuspects(context.Context) {
	for _, c := range n.routes.Suspects(time.Now()) {
		n.probe(c.Addr.ID)
	}
}

// expire drops what has ended: records, addresses, old failures.
func (n *Node) expire(context.Context) {
	now := time.Now()
	if dropped := n.values.Expire(now); dropped > 0 {
		n.config.Logger.Debug("records expired", "n", dropped)
	}
	n.backoff.Sweep(now)
	n.countVotes(now)
	for _, l := range n.links.all() { // a connected peer is still there
		if l.IsUp() && !l.conn.Virtual() {
			n.peers.Add(l.id, peerstore.SourceObserved, now, 0, wire.AddrFrom(l.conn.RemoteAddr()))
		}
	}
	n.peers.Prune(now)
	for _, ref := range n.routes.Refs() {
		n.verified(ref)
	}
}

// announceAddrs tells peers whose address has changed under an open connection
// where we see them now.
func (n *Node) announceAddrs(context.Context) {
	for _, l := range n.links.all() {
		if !l.IsUp() || l.conn.Virtual() {
			continue
		}
		if at := wire.AddrFrom(l.conn.RemoteAddr()); at != "" && at != l.announced {
			l.announced = at
			l.Notify(wire.Observed{Addr: at})
		}
	}
}

// tendRelays looks after what is relayed, to us, by us and for us.
func (n *Node) tendRelays(context.Context) {
	now := time.Now()
	n.relay.Tend(now)
	n.relays.Tend(now)
}

// publishSelf stores the node's signed peer record at the nodes nearest to its key whenever it is
// new. Connected peers have it from HELLO; others need it when the addresses change, and
// when it is signed again. A client's record is useful if it names relays, or replaces one
// that did.
func (n *Node) publishSelf(ctx context.Context) {
	if n.mode() != wire.ModeServer && len(n.relays.Relays()) == 0 && n.published == [64]byte{} {
		return
	}
	r := n.ownRecord()
	if r == nil || n.published == r.Signature {
		return
	}
	if n.joiner.IsIsolated() {
		return
	}
	if _, err := n.publish(ctx, r, 0); err != nil {
		n.config.Logger.Info("cannot publish the peer record", "err", err)
		return
	}
	n.published = r.Signature
	if n.mode() != wire.ModeServer {
		n.sayRecord()
	}
}

// sayRecord sends the node's record to its connected peers, as a server does at the start of a
// connection, because they may have an older record.
func (n *Node) sayRecord() {
	for _, l := range n.links.all() {
		if l.IsUp() {
			l.saying.Lock()
			l.sendHello() // an error ends the link, which its reader sees
			l.saying.Unlock()
		}
	}
}

// maxRepairs bounds the repairs under way.
const maxRepairs = 16

// tryInBackground runs brief work that no caller waits for, or drops it when no slot is
// free.
func (n *Node) tryInBackground(slots *background.Slots, f func(context.Context)) {
	slots.TryGo(func() {
		ctx, cancel := context.WithTimeout(n.ctx, 2*n.config.RPCTimeout)
		defer cancel()
		f(ctx)
	})
}
