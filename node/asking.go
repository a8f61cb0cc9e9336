package node

import (
	"cmp"
	"context"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/wire"
)

// Asking DIAL_BACK (SPEC.md §5): peers are asked to have others connect to us, at
// each public address that we may have. What comes of it is judged in
// reachability.go, and by mode.go what the node makes of it.

const (
	askSoon   = 15 * time.Second // after the first rounds, while it is not known
	soonTimes = 3                // so many of them
	askUnsure = 5 * time.Minute  // then, and when something speaks against what was known
	askSure   = 30 * time.Minute // once it is known

	askMany  = 5  // peers asked at once in the first rounds: of five, three name others than one another
	askFew   = 2  // later
	maxAsked = 12 // peers asked in a round, those that are busy among them

	maxSubjects = 3 // addresses of one family

	// minHold and maxHold are how long a join waits for the first who come in: from
	// then on we have sent something to everybody we know of.
	minHold = 300 * time.Millisecond
	maxHold = 1500 * time.Millisecond
)

// asking is who is asked what, and when. Goroutines may share it.
type asking struct {
	wake chan struct{} // something may have changed

	mu      sync.Mutex
	begun   bool // askEarly has been
	rounds  map[netip.AddrPort]*round
	asked   map[wire.PeerID]time.Time
	last    time.Time     // when a round was begun
	news    chan struct{} // closed when a round ends or a verdict changes; nil: nobody waits
	pinged  time.Time     // when votes were asked for last
	ways    map[bool]way
	running int
}

// A round is the latest one about an address. seenBy is among the addresses.
type round struct {
	begun time.Time
	count int
	busy  bool
}

// A way is the address from which the machine sends to some peer.
type way struct{ to, from netip.Addr }

func newAsking() *asking {
	return &asking{
		wake:   make(chan struct{}, 1),
		rounds: make(map[netip.AddrPort]*round),
		asked:  make(map[wire.PeerID]time.Time),
		ways:   make(map[bool]way),
	}
}

// poke has the task look what is to be asked.
func (a *asking) poke() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

func (a *asking) state() (running bool, last time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.running > 0, a.last
}

// newsChan is closed at the next piece of news.
func (a *asking) newsChan() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.news == nil {
		a.news = make(chan struct{})
	}
	return a.news
}

func (a *asking) tell() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.news != nil {
		close(a.news)
		a.news = nil
	}
}

// begin notes that a round begins, if it is due.
func (a *asking) begin(at netip.AddrPort, v verdict, now time.Time, force bool) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.rounds[at]
	if r == nil {
		r = new(round)
		a.rounds[at] = r
	}
	pause := askUnsure
	switch {
	case r.busy:
		return false
	case v.settled(now):
		pause = askSure
		if v.yes.After(r.begun) && !r.begun.IsZero() {
			r.begun = v.yes // somebody came in: that is as good
		}
	case v.reach() != ReachUnknown:
	case r.count == 0:
		pause = 0
	case r.count < soonTimes:
		pause = askSoon
	}
	if !force && now.Sub(r.begun) < pause {
		return false
	}
	r.begun, r.busy, a.last = now, true, now
	r.count++
	a.running++
	return true
}

func (a *asking) end(at netip.AddrPort) {
	a.mu.Lock()
	a.running--
	if r := a.rounds[at]; r != nil {
		r.busy = false
	}
	a.mu.Unlock()
	a.tell()
}

// isNew reports whether there have been few rounds about an address.
func (a *asking) isNew(at netip.AddrPort) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.rounds[at]
	return r == nil || r.count < soonTimes
}

// keep forgets rounds about addresses that are none of ours any more.
func (a *asking) keep(subjects []netip.AddrPort) {
	a.mu.Lock()
	defer a.mu.Unlock()
	maps.DeleteFunc(a.rounds, func(at netip.AddrPort, r *round) bool { return !r.busy && !slices.Contains(subjects, at) })
}

// trying reports whether the first round about one of the addresses has not ended.
func (a *asking) trying(untried []netip.AddrPort) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.ContainsFunc(untried, func(at netip.AddrPort) bool {
		r := a.rounds[at]
		return r == nil || r.count == 0 || r.count == 1 && r.busy
	})
}

// notedAsked notes that a peer is asked, and reports whether it was in the last minute.
func (a *asking) notedAsked(id wire.PeerID, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	maps.DeleteFunc(a.asked, func(_ wire.PeerID, at time.Time) bool { return now.Sub(at) > time.Minute })
	_, before := a.asked[id]
	a.asked[id] = now
	return before
}

func (a *asking) wasAsked(id wire.PeerID) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.asked[id]
	return ok
}

// asks reports whether the node asks others whether they reach it. They come as
// strangers, who are not let into a private network, and from other ports, which
// simulated sockets do not have. A client does not care.
func (n *Node) asks() bool {
	return n.fresh != nil && n.config.Admit == nil && n.config.Mode != ModeClient && n.config.RPCTimeout > delegateTimeout
}

// subjects are the addresses to be asked about: all places of global scope, and
// where a family has none, though peers see us at one, seenBy.
func (n *Node) subjects() (all []netip.AddrPort) {
	s := &n.self
	s.mu.Lock()
	defer s.mu.Unlock()
	count := map[bool]int{}
	for _, p := range s.placesLocked() {
		is4 := p.at.Addr().Is4()
		if reach.ScopeOf(p.at.Addr()) == reach.ScopeGlobal && (count[is4] < maxSubjects || p.mapped) {
			all = append(all, p.at)
			count[is4]++
		}
	}
	for _, is4 := range []bool{true, false} {
		if count[is4] == 0 && s.votes.outside(is4).IsValid() {
			all = append(all, seenBy(is4))
		}
	}
	return all
}

// untried are the subjects on which there is no verdict.
func (n *Node) untried() []netip.AddrPort {
	return slices.DeleteFunc(n.subjects(), func(at netip.AddrPort) bool { return n.self.verdict(at).reach() != ReachUnknown })
}

func (s *selfAddrs) verdict(at netip.AddrPort) verdict {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.verdicts[at]
}

// watchReach is the task that asks, looks whether the machine has moved, and keeps
// the votes alive that an address of ours stands on.
func (n *Node) watchReach(ctx context.Context) {
	timer := time.NewTimer(recheckAddrs)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-n.asking.wake:
		case <-ctx.Done():
			return
		}
		n.lookWhere(ctx)
		n.askAll(ctx, false)
		n.keepVotes(ctx, time.Now())
		n.decideMode(time.Now())
		timer.Reset(recheckAddrs)
	}
}

// askAll begins a round about each address that it is time for, or all.
func (n *Node) askAll(ctx context.Context, force bool) {
	subjects := n.subjects()
	n.asking.keep(subjects)
	now := time.Now()
	for _, at := range subjects {
		v := n.self.verdict(at)
		hurry := v.reach() == ReachUnknown && n.asking.isNew(at)
		peers := n.answerers(at, hurry)
		if len(peers) == 0 || !n.asking.begin(at, v, now, force) {
			continue
		}
		width := askFew
		if hurry {
			width = askMany
		}
		started := n.spawn(func() {
			n.askAbout(ctx, at, peers, width)
			n.asking.end(at)
			n.decideMode(time.Now())
		})
		if !started {
			n.asking.end(at)
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
	known := n.self.verdict(at).reach() == ReachNo
	var wg sync.WaitGroup
	for range width {
		wg.Go(func() {
			for id := range queue {
				if ctx.Err() != nil || !known && n.self.verdict(at).reach() == ReachNo || n.askOne(ctx, id, at) {
					return
				}
			}
		})
	}
	wg.Wait()
}

// askOne asks one peer, and reports whether that told something.
func (n *Node) askOne(ctx context.Context, id wire.PeerID, at netip.AddrPort) bool {
	ctx, cancel := context.WithTimeout(ctx, n.config.RPCTimeout)
	defer cancel()
	l, err := n.link(ctx, id)
	if err != nil || !l.mayAnswer() {
		return false
	}
	sees := l.sees.Load()
	to := at
	if to.Port() == 0 { // seenBy
		if sees == nil || sees.Addr().Is4() != at.Addr().Is4() || reach.ScopeOf(sees.Addr()) != reach.ScopeGlobal {
			return false
		}
		to = *sees
	}
	via := reach.SiteOf(l.addr.Addr())
	if via == reach.SiteOf(to.Addr()) { // a neighbour of ours may reach us where others do not
		return false
	}
	m := wire.DialBack{Addrs: []wire.Addr{wire.AddrFrom(to)}}
	if sees == nil || sees.Addr() != to.Addr() {
		m.Padding = wire.DialBytes
	}
	asked := time.Now()
	n.asking.notedAsked(id, asked)
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
	case d.Code != wire.CodeUnreachable || d.By == id || d.By == n.id || d.By.IsZero():
		return false
	}
	return n.couldNot(at, d.By, via, asked, time.Now())
}

// mayAnswer reports whether a peer can be asked: a public server, at its own
// address.
func (l *link) mayAnswer() bool {
	return l.isUp() && l.isServer() && !l.conn.Virtual() && reach.ScopeOf(l.addr.Addr()) == reach.ScopeGlobal
}

// answerers are the peers to be asked about an address, one of each network, in
// this order: whose word would count, as nobody of its network has said no; where
// there is no hurry, who has been sent something lately, so that the others become
// strangers again, who alone can tell; who was not asked a minute ago; who is
// connected.
func (n *Node) answerers(at netip.AddrPort, hurry bool) []wire.PeerID {
	type answerer struct {
		id                                wire.PeerID
		at                                netip.Addr
		counted, stranger, again, unknown bool
	}
	var all []answerer
	links := n.links.all()
	shuffle(links)
	for _, l := range links {
		if l.mayAnswer() {
			all = append(all, answerer{id: l.id, at: l.addr.Addr()})
		}
	}
	contacts := n.contacts()
	shuffle(contacts)
	for _, k := range contacts {
		if at, ok := k.globalAddr(func(netip.Addr) bool { return true }); ok {
			all = append(all, answerer{id: k.id, at: at, unknown: true})
		}
	}
	now := time.Now()
	s := &n.self
	s.mu.Lock()
	noes := s.verdicts[at].noes
	if len(noes) >= enoughNoes { // it is a yes that is wanted
		noes = nil
	}
	for i, a := range all {
		all[i].counted = slices.ContainsFunc(noes, func(n no) bool { return n.via == reach.SiteOf(a.at) })
		all[i].stranger = !hurry && !s.contacted.has(a.at, now)
		all[i].again = hurry && n.asking.wasAsked(a.id)
	}
	s.mu.Unlock()
	slices.SortStableFunc(all, func(a, b answerer) int {
		return cmp.Or(compareBool(a.counted, b.counted), compareBool(a.stranger, b.stranger), compareBool(a.again, b.again), compareBool(a.unknown, b.unknown))
	})
	var ids []wire.PeerID
	networks := make(map[netip.Prefix]bool)
	for _, a := range all {
		if !networks[reach.SiteOf(a.at)] && a.id != n.id && len(ids) < maxAsked {
			networks[reach.SiteOf(a.at)] = true
			ids = append(ids, a.id)
		}
	}
	return ids
}

// askEarly asks the peers that a node has met first, and holds up its join for a
// moment. Whoever dials back now comes from where nothing was sent to; once the
// node has met everybody there is, as in a small network it does in its first
// second, ten minutes must pass until somebody can tell.
func (n *Node) askEarly(ctx context.Context) {
	if !n.asks() || !n.asking.first() {
		return
	}
	subjects := n.subjects()
	hold := minHold
	var wg sync.WaitGroup
	ended := make(chan struct{})
	asked := 0
	for _, l := range n.links.all() {
		if !l.mayAnswer() || asked == askMany {
			continue
		}
		asked++
		hold = min(max(hold, minHold+6*l.conn.Stats().SmoothedRTT), maxHold)
		for _, at := range subjects {
			wg.Add(1)
			started := n.spawn(func() {
				defer wg.Done()
				n.askOne(n.ctx, l.id, at)
			})
			if !started {
				wg.Done()
			}
		}
	}
	if !n.spawn(func() { wg.Wait(); close(ended) }) {
		return
	}
	timer := time.NewTimer(hold)
	defer timer.Stop()
	for {
		news := n.asking.newsChan()
		if yes, _, _ := n.self.sum(time.Now()); yes {
			return
		}
		select {
		case <-news:
		case <-ended:
			return
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// first reports whether it is called for the first time.
func (a *asking) first() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	before := a.begun
	a.begun = true
	return !before
}

// judged is called, without a lock, when verdicts have changed, or may have.
func (n *Node) judged(events []ReachEvent, now time.Time) {
	for _, e := range events {
		n.config.Logger.Info("reachability", "addr", e.Addr, "now", e.Reach, "was", e.Was)
		n.reachEvent(e)
	}
	n.asking.tell()
	n.decideMode(now)
}

// onLoopback reports whether all sockets are bound to loopback addresses: there is
// nothing to find out about those.
func (n *Node) onLoopback() bool {
	n.self.mu.Lock()
	defer n.self.mu.Unlock()
	return !slices.ContainsFunc(n.self.listen, func(a netip.AddrPort) bool { return !a.Addr().IsLoopback() })
}
