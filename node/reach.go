package node

import (
	"cmp"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/wire"
)

// dialable drops addresses that nobody but our own user may make us dial: what
// a signed record says may come from anywhere, so only global addresses and,
// where we are in the same scope ourselves, narrower ones. Names may mean any.
func (n *Node) dialable(addrs []wire.Addr) []wire.Addr {
	widest := n.scope()
	return slices.DeleteFunc(slices.Clone(addrs), func(a wire.Addr) bool {
		ap, ok := a.AddrPort()
		return !ok || reach.ScopeOf(ap.Addr()) == reach.ScopeNone || reach.ScopeOf(ap.Addr()) < widest
	})
}

// scope is the widest scope in which anybody reached us, or we them.
func (n *Node) scope() reach.Scope {
	widest := reach.ScopeLoopback
	for _, l := range n.links.all() {
		widest = max(widest, reach.ScopeOf(l.addr.Addr()))
	}
	return widest
}

// selfAddrs is where this node is: what it listens on and where others see it.
// Goroutines may share it.
type selfAddrs struct {
	enough func() int // votes that make an address believed

	mu        sync.Mutex
	listen    []netip.AddrPort
	own       []netip.AddrPort // of the sockets and of the interfaces they listen on
	listed    time.Time        // when that was asked of the machine
	votes     votes
	contacted contacted
	mapped    map[uint16]netip.AddrPort  // by a router, which says so, to our ports
	verdicts  map[netip.AddrPort]verdict // of places
	record    *wire.Signed               // our word on it, signed
	signed    []wire.Addr                // what record says
	by        []wire.PeerID              // the relays that it names
	checked   time.Time                  // when that was last compared
}

// observed notes that a peer sees us at addr.
func (n *Node) observed(l *link, addr wire.Addr) {
	ap, ok := addr.AddrPort()
	if !ok || !reach.MayTell(l.addr.Addr(), ap.Addr()) || l.conn.Virtual() {
		return
	}
	l.sees.Store(&ap)
	s := &n.self
	s.mu.Lock()
	defer s.mu.Unlock()
	s.votes.cast(l.addr.Addr(), l.conn.LocalAddr().Port(), ap, time.Now())
}

// countVotes lets the votes of those who are connected stand, and drops those
// that have ended, with what was known of addresses that are ours no more.
func (n *Node) countVotes(now time.Time) {
	links := n.links.all()
	s := &n.self
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range links {
		if ap := l.sees.Load(); ap != nil && l.isUp() {
			s.votes.stand(l.addr.Addr(), l.conn.LocalAddr().Port(), *ap, now)
		}
		s.contacted.note(l.conn.RemoteAddr(), now) // which of a virtual one is where its path leads
	}
	s.votes.expire(now)
	s.contacted.expire(now)
	places := s.placesLocked()
	maps.DeleteFunc(s.verdicts, func(at netip.AddrPort, _ verdict) bool {
		if at.Port() == 0 { // seenBy
			return !s.votes.outside(at.Addr().Is4()).IsValid()
		}
		return !slices.ContainsFunc(places, func(p place) bool { return p.at == at })
	})
}

// enoughVotes is how many networks must see us at an address: one will do for
// who knows nobody else. Who was met through a relay does not see us.
func (n *Node) enoughVotes() int {
	n.links.mu.Lock()
	defer n.links.mu.Unlock()
	voters := 0
	for l := range n.links.of {
		if !l.conn.Virtual() {
			voters++
		}
	}
	if voters < minVotes {
		return 1
	}
	return minVotes
}

func (s *selfAddrs) listensOn(a netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listen = append(s.listen, a)
	s.listed = time.Time{}
}

// ownLocked returns the addresses of the sockets, as the machine has them.
func (s *selfAddrs) ownLocked() []netip.AddrPort {
	now := time.Now()
	if !s.listed.IsZero() && now.Sub(s.listed) < recheckAddrs {
		return s.own
	}
	s.own, s.listed = nil, now
	for _, l := range s.listen {
		if l.Addr().IsUnspecified() {
			s.own = append(s.own, interfaces(l)...)
		} else {
			s.own = append(s.own, l)
		}
	}
	return s.own
}

// A place is where the node may be, and how we know.
type place struct {
	at     netip.AddrPort
	own    bool // of a socket or an interface of this machine
	mapped bool // by the router in front of us, as it says
	votes  int  // by others
}

// places is placesLocked, for those who do not hold the lock.
func (s *selfAddrs) places() []place {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.placesLocked()
}

// placesLocked returns what we believe of where we are, widest scope first.
func (s *selfAddrs) placesLocked() []place {
	counts := s.votes.counts()
	var places []place
	for _, at := range s.ownLocked() {
		if !slices.ContainsFunc(places, func(p place) bool { return p.at == at }) {
			places = append(places, place{at: at, own: true, votes: counts[at]})
		}
		delete(counts, at)
	}
	for _, at := range s.mapped {
		if slices.ContainsFunc(places, func(p place) bool { return p.at == at }) {
			continue
		}
		places = append(places, place{at: at, mapped: true, votes: counts[at]})
		delete(counts, at)
	}
	enough := s.enough()
	for at, n := range counts {
		if n >= enough {
			places = append(places, place{at: at, votes: n})
		}
	}
	slices.SortFunc(places, func(a, b place) int {
		return cmp.Or(cmp.Compare(reach.ScopeOf(b.at.Addr()), reach.ScopeOf(a.at.Addr())), -compareBool(a.own, b.own), cmp.Compare(b.votes, a.votes), a.at.Compare(b.at))
	})
	return places
}

// compareBool orders false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// addrs returns where this node can be reached, widest scope first, and first in
// it where somebody has come in. Where nobody can is left out once it is known
// where they can, by IPv4 and IPv6 apart; and so is what only the router says, until
// others have seen it to be true.
func (s *selfAddrs) addrs() []wire.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addrsLocked()
}

func (s *selfAddrs) addrsLocked() []wire.Addr {
	places := s.placesLocked()
	reached := func(p place) bool { return s.verdicts[p.at].reach() == ReachYes }
	slices.SortStableFunc(places, func(a, b place) int {
		return cmp.Or(cmp.Compare(reach.ScopeOf(b.at.Addr()), reach.ScopeOf(a.at.Addr())), -compareBool(reached(a), reached(b)))
	})
	var addrs []wire.Addr
	enough := s.enough()
	for _, p := range places {
		if p.mapped && p.votes < enough && !reached(p) {
			continue
		}
		another := func(q place) bool { return reached(q) && q.at.Addr().Is4() == p.at.Addr().Is4() }
		if s.verdicts[p.at].reach() == ReachNo && slices.ContainsFunc(places, another) {
			continue
		}
		if a := wire.AddrFrom(p.at); a != "" && len(addrs) < wire.MaxAddrs {
			addrs = append(addrs, a)
		}
	}
	return addrs
}

// interfaces returns the addresses of this machine for a socket bound to none in
// particular. 0.0.0.0 is nowhere.
func interfaces(l netip.AddrPort) []netip.AddrPort {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var aps []netip.AddrPort
	for _, a := range all {
		ipnet, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		ip, _ := netip.AddrFromSlice(ipnet.IP)
		ip = ip.Unmap()
		if s := reach.ScopeOf(ip); s == reach.ScopeNone || s == reach.ScopeLink || l.Addr().Is4() && !ip.Is4() {
			continue
		}
		aps = append(aps, netip.AddrPortFrom(ip, l.Port()))
	}
	return aps
}

// Addrs returns the addresses at which this node can be reached, as far as it
// knows, widest scope first, each with /p2p/ID: ready to be another's bootstrap.
// Those by relays come last.
func (n *Node) Addrs() []ma.Multiaddr {
	var all []ma.Multiaddr
	for _, a := range n.self.addrs() {
		all = append(all, wire.JoinPeer(a, n.id))
	}
	return append(all, n.circuits()...)
}

// ownRecord returns our signed peer record, signed anew when our addresses have
// changed or half its life is over.
func (n *Node) ownRecord() *wire.Signed {
	s := &n.self
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.record != nil && now.Sub(s.checked) < recheckAddrs {
		return s.record
	}
	s.checked = now
	addrs, by := s.addrsLocked(), n.heldRelays()
	if s.record != nil && s.record.Record.Expiry.Sub(now) > wire.MaxTTL/2 && slices.Equal(addrs, s.signed) && slices.Equal(by, s.by) {
		return s.record
	}
	value, err := wire.PeerInfo{Mode: n.mode(), Addrs: addrs, Relays: by}.Value()
	if err != nil {
		n.config.Logger.Error("peer record", "err", err)
		return s.record
	}
	r, err := wire.Sign(wire.Record{
		Kind:   wire.KindPeer,
		Key:    n.key,
		Seq:    uint64(now.UnixMilli()),
		Expiry: now.Add(wire.MaxTTL),
		Value:  value,
	}, n.config.Key)
	if err != nil {
		n.config.Logger.Error("peer record", "err", err)
		return s.record
	}
	s.record, s.signed, s.by = r, addrs, by
	return r
}

// recheckAddrs is how long what we say of our addresses stands unexamined: to
// list the machine's interfaces for every HELLO would be a system call each.
const recheckAddrs = 5 * time.Second
