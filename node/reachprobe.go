package node

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/wire"
)

// The client side of DIAL_BACK (SPEC.md §5): the node asks peers to have third peers connect to
// each public address that it may have. Package reach decides which peers to ask, when and
// about which addresses, and judges the answers; mode.go draws the conclusion.

const (
	askMany = 5 // peers asked at once in the first rounds: of five, three name others than one another
	askFew  = 2 // later
)

// reachProbe is what goroutines share that ask, besides what they find out.
type reachProbe struct {
	wake   chan struct{} // something may have changed
	rounds *reach.Rounds

	mu          sync.Mutex
	begun       bool          // askEarly has been
	news        chan struct{} // closed when a round ends or a verdict changes; nil: no goroutine waits
	pinged      time.Time     // when peers were last pinged for votes
	sourceAddrs map[bool]sourceAddr
}

// A sourceAddr is the address from which the machine sends to some peer.
type sourceAddr struct{ to, from netip.Addr }

func newReachProbe() *reachProbe {
	return &reachProbe{wake: make(chan struct{}, 1), rounds: reach.NewRounds(), sourceAddrs: make(map[bool]sourceAddr)}
}

// poke makes the task check which rounds are due.
func (a *reachProbe) poke() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// newsChan is closed at the next piece of news.
func (a *reachProbe) newsChan() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.news == nil {
		a.news = make(chan struct{})
	}
	return a.news
}

func (a *reachProbe) tell() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.news != nil {
		close(a.news)
		a.news = nil
	}
}

// asks reports whether the node asks for dial-backs. They come as strangers, which a private
// network refuses, and from other ports, which simulated sockets do not have. A node that is
// configured as a client does not need them.
func (n *Node) asks() bool {
	return n.fresh != nil && n.config.Admit == nil && n.config.Mode != ModeClient && n.config.RPCTimeout > delegateTimeout
}

// watchReach is the task that asks for dial-backs, notices when the machine has moved, and keeps
// alive the votes on which an address of the node rests.
func (n *Node) watchReach(ctx context.Context) {
	timer := time.NewTimer(reach.RecheckAfter)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-n.reachProbe.wake:
		case <-ctx.Done():
			return
		}
		n.lookWhere(ctx)
		n.askAll(ctx, false)
		n.keepVotes(ctx, time.Now())
		n.decideMode(time.Now())
		timer.Reset(reach.RecheckAfter)
	}
}

// askAll begins a round about each address that it is time for, or all.
func (n *Node) askAll(ctx context.Context, force bool) {
	now := time.Now()
	rounds, subjects := n.reachProbe.rounds, n.self.Subjects(now)
	rounds.Keep(subjects)
	for _, at := range subjects {
		v := n.self.Verdict(at)
		hurry := v.Answer() == reach.Unknown && rounds.IsNew(at)
		peers := n.answerers(at, hurry)
		if len(peers) == 0 || !rounds.Begin(at, v, n.self.IsMapped(at), now, force) {
			continue
		}
		width := askFew
		if hurry {
			width = askMany
		}
		started := n.spawn(func() {
			n.askAbout(ctx, at, peers, width)
			rounds.End(at)
			n.reachProbe.tell()
			n.decideMode(time.Now())
		})
		if !started {
			rounds.End(at)
		}
	}
}

// askAbout asks peers until width of them have told something. In a small network
// two of them may have had the same one dial, which tells no more than one: then
// they are asked again.
func (n *Node) askAbout(ctx context.Context, at netip.AddrPort, peers []wire.PeerID, width int) {
	queue := make(chan wire.PeerID, 2*len(peers))
	for range 2 {
		for _, id := range peers {
			queue <- id
		}
	}
	close(queue)
	known := n.self.Answer(at) == reach.No
	var wg sync.WaitGroup
	for range width {
		wg.Go(func() {
			for id := range queue {
				if ctx.Err() != nil || !known && n.self.Answer(at) == reach.No || n.requestDialBack(ctx, id, at) {
					return
				}
			}
		})
	}
	wg.Wait()
}

// requestDialBack asks one peer, and reports whether that told something.
func (n *Node) requestDialBack(ctx context.Context, id wire.PeerID, at netip.AddrPort) bool {
	ctx, cancel := context.WithTimeout(ctx, n.config.RPCTimeout)
	defer cancel()
	l, err := n.link(ctx, id)
	if err != nil || !l.mayAnswer() {
		return false
	}
	sees := l.sees.Load()
	to := at
	if to.Port() == 0 { // reach.SeenBy
		if sees == nil || sees.Addr().Is4() != at.Addr().Is4() || reach.ScopeOf(sees.Addr()) != reach.ScopeGlobal {
			return false
		}
		to = *sees
	}
	via := reach.SiteOf(l.addr.Addr())
	if via == reach.SiteOf(to.Addr()) { // a peer in the node's own network may reach it where others do not
		return false
	}
	m := wire.DialBack{Addrs: []wire.Addr{wire.AddrFrom(to)}}
	if sees == nil || sees.Addr() != to.Addr() {
		m.Padding = wire.DialBytes
	}
	asked := time.Now()
	n.reachProbe.rounds.Asks(id, asked)
	_, reply, err := n.request(ctx, id, m)
	d, ok := reply.(wire.Dialled)
	if !ok {
		n.config.Logger.Debug("no dial back", "asked", id, "addr", to, "err", err)
		return false
	}
	n.config.Logger.Debug("dialled back", "asked", id, "by", d.By, "addr", to, "result", d.Code)
	switch {
	case d.Code == wire.CodeOK: // it counts if we have seen it
		return true
	case d.Code != wire.CodeUnreachable || d.By == n.id || d.By.IsZero():
		return false
	}
	now := time.Now()
	changes, told := n.self.DialFailed(at, d.By, via, asked, now)
	n.doubtMapping(at)
	n.judged(changes, now)
	return told
}

// mayAnswer reports whether a peer can be asked: a public server, at its own
// address.
func (l *link) mayAnswer() bool {
	return l.IsUp() && l.IsServer() && !l.conn.Virtual() && reach.ScopeOf(l.addr.Addr()) == reach.ScopeGlobal
}

// answerers are the peers to be asked about an address, in that order.
func (n *Node) answerers(at netip.AddrPort, hurry bool) []wire.PeerID {
	var all []reach.Answerer
	links := n.links.all()
	shuffle(links)
	for _, l := range links {
		if l.mayAnswer() {
			all = append(all, reach.Answerer{ID: l.id, At: l.addr.Addr(), Connected: true, Again: n.reachProbe.rounds.WasAsked(l.id)})
		}
	}
	contacts := n.routes.Refs()
	shuffle(contacts)
	for _, k := range contacts {
		if at, ok := globalAddr(k, func(netip.Addr) bool { return true }); ok && k.ID != n.id {
			all = append(all, reach.Answerer{ID: k.ID, At: at, Again: n.reachProbe.rounds.WasAsked(k.ID)})
		}
	}
	return n.self.Answerers(at, hurry, all, time.Now())
}
