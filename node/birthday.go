package node

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/kadquic/kadquic/internal/punch"
	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/wire"
)

// A birthday is our part in the search for a random port, for one attempt: which side
// we are on, and the fuel that we owe. The zero value is for attempts that need none.
//
// The side with a steady port searches by a socket that has sent nothing yet, and whose
// address it tells first: where that is seen by two, all others will see it, too. Of an
// older socket that cannot be said: some NATs have given it another port for those whose
// packets came before its own. Who is called opens one before it answers; who calls
// cannot know that it will need one, and calls again.
type birthday struct {
	scatter bool           // our ports are random: we open many sockets
	target  netip.AddrPort // on the peer's side, the only address then
	search  bool           // the peer's are: we look for one of them
	ip      netip.Addr

	begins time.Time // when it is due; zero: not, or it has begun
	fuel   int       // bytes owed still
	burnt  time.Time // when some was last sent
	place  func()    // gives the place among those under way back; nil: we have none
}

const (
	// simpler is how long ways that cost less have before the search begins.
	simpler = 150 * time.Millisecond
	// callsAgain is for how long the side with random ports waits, after a first call,
	// for another by which to search.
	callsAgain = 600 * time.Millisecond
	// maxSearchCalls is how many peers at a time are called for a search.
	maxSearchCalls = 4
	// fuelEvery and fuelSize: 11 kB a second, what 200 probes cost but for what is sent
	// at once; twice that for 400 sockets.
	fuelEvery = 100 * time.Millisecond
	fuelSize  = 1100
	firstFuel = 300 * (punch.Size + 28)
)

// steady reports whether a NAT has one port for everybody.
func steady(m wire.Mapping) bool { return m == wire.MappingNone || m == wire.MappingIndependent }

// searchable reports whether a peer's ports are random, and may be searched for.
func searchable(peer wire.CandidateOffer, seen netip.AddrPort) bool {
	return peer.Mapping == wire.MappingRandom && consents(peer, seen)
}

func consents(peer wire.CandidateOffer, seen netip.AddrPort) bool {
	return peer.Birthday && seen.Addr().Is4() && reach.ScopeOf(seen.Addr()) == reach.ScopeGlobal
}

// plan decides whether a search belongs to an attempt: the ports of one side are random,
// the other has one port for everybody, and both agree. The addrs are the peer's.
func (g *agent) plan(now time.Time, a *attempt, peer wire.CandidateOffer, seen netip.AddrPort, addrs []netip.AddrPort) {
	b := &a.birthday
	switch {
	case a.own == wire.MappingRandom && steady(peer.Mapping) && consents(peer, seen):
		b.scatter, b.target, b.fuel = true, seen, punch.SearchCost(false, seen.Addr())
		if i := slices.IndexFunc(addrs, func(at netip.AddrPort) bool { return at.Addr() == seen.Addr() }); i >= 0 {
			b.target = addrs[i]
		}
		switch {
		case !a.came || peer.Mapping == wire.MappingNone:
			b.begins = now.Add(simpler)
		case len(g.attempts) == 1:
			b.begins = now.Add(callsAgain)
		default: // this is the call for the search
			b.begins = now
		}
	case (a.fresh || a.own == wire.MappingNone) && steady(a.own) && searchable(peer, seen):
		b.search, b.ip, b.fuel = true, seen.Addr(), punch.SearchCost(true, seen.Addr())
		b.begins = now
		if a.came || !a.fresh {
			b.begins = now.Add(simpler)
		}
	case !a.came && !a.fresh && a.own < wire.MappingSequential && searchable(peer, seen):
		g.callToSearch(a.relay)
		return
	default:
		return
	}
	for _, o := range g.attempts { // the peer does likewise
		if o != a {
			o.endSearch()
		}
	}
}

// callToSearch calls the peer for a search, unless meanwhile there is a path.
func (g *agent) callToSearch(relay wire.PeerID) {
	places := g.n.agents.searchCalls
	select {
	case places <- struct{}{}:
	default:
		return
	}
	g.heal.calling++
	started := g.n.spawn(func() {
		defer func() { <-places }()
		ctx, cancel := context.WithTimeout(g.n.ctx, callFor)
		defer cancel()
		if err := g.searchBy(ctx, relay); err != nil {
			g.n.callEvent(CallEvent{Peer: g.id, Relay: relay, What: "failed", Err: err})
		}
		g.tell(func(time.Time) { g.heal.calling-- })
	})
	if !started {
		g.heal.calling--
		<-places
	}
}

func (g *agent) searchBy(ctx context.Context, relay wire.PeerID) error {
	late := time.NewTimer(simpler)
	defer late.Stop()
	l, err := g.n.relayLink(ctx, relay)
	if err != nil {
		return fmt.Errorf("relay %s: %w", relay, err)
	}
	s := g.n.freshly(ctx, l.conn.RemoteAddr(), g.n.mapping())
	if s.port == nil {
		g.n.config.Logger.Debug("no socket to search by", "peer", g.id)
		return nil
	}
	select {
	case <-late.C:
	case <-ctx.Done():
	}
	var needless bool
	if !g.tell(func(time.Time) { needless = g.path != nil || g.searching() }) || needless {
		s.close()
		return nil
	}
	return g.n.callBySocket(ctx, g.id, l, s, func() {})
}

func (b *birthday) end() {
	b.begins, b.fuel = time.Time{}, 0
	if b.place != nil {
		b.place()
		b.place = nil
	}
}

// endSearch has an attempt search no more, for the sake of a younger one.
func (a *attempt) endSearch() {
	b := &a.birthday
	if a.state.Found || !b.scatter && !b.search {
		return
	}
	b.end()
	a.s.EndSearch()
	if b.scatter {
		for i := range a.ports {
			a.closePort(i)
		}
	}
}

// stepBirthday begins the search when that is due, and pays for the peer's part in it.
func (g *agent) stepBirthday(now time.Time, a *attempt) time.Time {
	b := &a.birthday
	if a.state.Found || a.s.Done(now) {
		b.end()
		return time.Time{}
	}
	if !b.begins.IsZero() {
		if now.Before(b.begins) {
			return b.begins
		}
		b.begins = time.Time{}
		if !g.beginBirthday(now, a) {
			b.end()
			return time.Time{}
		}
	}
	if b.place == nil || b.fuel <= 0 {
		return time.Time{}
	}
	size := fuelSize
	if b.search {
		size = 2 * fuelSize
	}
	if b.burnt.IsZero() {
		size = min(firstFuel, b.fuel)
	} else if now.Sub(b.burnt) < fuelEvery {
		return b.burnt.Add(fuelEvery)
	}
	b.burnt = now
	for ; size > 0; size -= fuelSize {
		g.n.sendFuel(g.id, min(size, fuelSize))
		b.fuel -= min(size, fuelSize)
	}
	return now.Add(fuelEvery)
}

func (g *agent) searching() bool { return slices.ContainsFunc(g.attempts, (*attempt).searches) }

func (g *agent) beginBirthday(now time.Time, a *attempt) bool {
	b := &a.birthday
	if g.searching() {
		return false
	}
	places := g.n.agents.birthdays
	select {
	case places <- struct{}{}:
	default:
		return false
	}
	b.place = func() { <-places }
	if b.search {
		a.s.SearchPorts(now, b.ip)
		return true
	}
	a.s.SearchFromSockets(now, b.target, func() (via int, ok bool) { return g.scatter(a) })
	return true
}

// scatter opens one of many sockets, in the place of the oldest when there are enough.
func (g *agent) scatter(a *attempt) (via int, ok bool) {
	if i := len(a.ports) - punch.Sockets; i >= 0 {
		a.closePort(i)
	}
	p, err := g.t.OpenPort()
	if err != nil {
		g.n.config.Logger.Debug("no more sockets", "err", err)
		return 0, false
	}
	a.ports = append(a.ports, p)
	return len(a.ports), true
}

// fuelCame notes that a peer has paid, through a relay, for probes to its addresses.
func (n *Node) fuelCame(peer wire.PeerID, size int) {
	if g := n.agents.agentWith(peer); g != nil {
		g.paid(size)
	}
}
