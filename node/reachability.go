package node

import (
	"iter"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/peerstore"
	"github.com/kadquic/kadquic/wire"
)

// Reach says whether others reach an address of a node.
type Reach uint8

const (
	// ReachUnknown: nobody has tried whose packets no filter was open for.
	ReachUnknown Reach = iota
	// ReachYes: somebody has connected to it, to whom it had sent nothing.
	ReachYes
	// ReachNo: three peers were asked to connect to it, and none could.
	ReachNo
)

func (r Reach) String() string {
	switch r {
	case ReachYes:
		return "yes"
	case ReachNo:
		return "no"
	}
	return "unknown"
}

const (
	// enoughNoes is how many peers must have failed to connect to an address before
	// it counts as out of reach: what one says may be a lie, and what two say bad
	// luck.
	enoughNoes = 3
	// noLife is how long a no counts while there are not enough of them.
	noLife = time.Hour
	// enoughKnown is how many networks must have come in to whom we had sent
	// something, before the router is believed that it lets in others, too.
	enoughKnown = 2
)

// A verdict is what is known of one address. The zero value is: nothing.
type verdict struct {
	yes   time.Time // when somebody came in there last to whom nothing had been sent
	noes  []no      // who could not since, each once, by askers of different networks
	no    time.Time // the last of them
	known []came    // who came in since from another port than we had sent something to, by network
}

// A no is the word of a peer that it could not connect, and whom we asked for it.
type no struct {
	by  wire.PeerID
	via netip.Prefix
	at  time.Time
}

// came is a network that somebody came in from.
type came struct {
	from netip.Prefix
	at   time.Time
}

func (v verdict) reach() Reach {
	switch {
	case len(v.noes) >= enoughNoes:
		return ReachNo
	case !v.yes.IsZero():
		return ReachYes
	}
	return ReachUnknown
}

func (v verdict) since() time.Time {
	switch v.reach() {
	case ReachNo:
		return v.no
	case ReachYes:
		return v.yes
	}
	return time.Time{}
}

// failed notes that a peer could not connect, as somebody in the network via says.
// One peer counts once, and so does one network: it may name whom it likes.
func (v verdict) failed(by wire.PeerID, via netip.Prefix, now time.Time) verdict {
	v.no = now
	if len(v.noes) >= enoughNoes {
		return v
	}
	v.noes = slices.DeleteFunc(slices.Clone(v.noes), func(n no) bool { return now.Sub(n.at) > noLife })
	if !slices.ContainsFunc(v.noes, func(n no) bool { return n.by == by || n.via == via }) {
		v.noes = append(v.noes, no{by, via, now})
	}
	return v
}

// letIn notes that a filter let in a peer to whose IP something had been sent, but
// not to the port it came from.
func (v verdict) letIn(from netip.Prefix, now time.Time) verdict {
	v.known = slices.DeleteFunc(slices.Clone(v.known), func(c came) bool { return c.from == from || now.Sub(c.at) > noLife })
	if len(v.known) < enoughKnown {
		v.known = append(v.known, came{from, now})
	}
	return v
}

// settled reports whether nothing has come up lately that speaks against it.
func (v verdict) settled(now time.Time) bool {
	switch v.reach() {
	case ReachYes:
		return len(v.noes) == 0
	case ReachNo:
		return !v.hopeful(now)
	}
	return false
}

// hopeful reports whether peers get in of whom it is not known that they are like
// any other.
func (v verdict) hopeful(now time.Time) bool {
	return slices.ContainsFunc(v.known, func(c came) bool { return now.Sub(c.at) <= noLife })
}

// contacted is whom we sent anything to lately: the filter of a NAT or firewall
// may be open to them, so that they connect says nothing of others. The zero
// value is empty; goroutines must not share it.
type contacted struct {
	at    map[netip.Addr]time.Time
	ports map[netip.AddrPort]time.Time
}

const (
	// filterLife is longer than NATs and firewalls keep their filters open
	// (RFC 4787 §4.3: 2 minutes at least, 5 recommended).
	filterLife   = 10 * time.Minute
	maxContacted = 4096 // of either; without room, has says so of everybody
)

func (c *contacted) note(to netip.AddrPort, now time.Time) {
	if c.at == nil {
		c.at = make(map[netip.Addr]time.Time)
		c.ports = make(map[netip.AddrPort]time.Time)
	}
	if at, ok := c.at[to.Addr()]; ok && now.After(at) || !ok && len(c.at) < maxContacted {
		c.at[to.Addr()] = now
	}
	if at, ok := c.ports[to]; ok && now.After(at) || !ok && len(c.ports) < maxContacted {
		c.ports[to] = now
	}
}

// has reports whether we may have sent something to that IP.
func (c *contacted) has(ip netip.Addr, now time.Time) bool {
	at, ok := c.at[ip]
	return ok && now.Sub(at) <= filterLife || len(c.at) >= maxContacted
}

// hasPort reports whether we may have sent something to that very port.
func (c *contacted) hasPort(to netip.AddrPort, now time.Time) bool {
	at, ok := c.ports[to]
	return ok && now.Sub(at) <= filterLife || len(c.ports) >= maxContacted
}

func (c *contacted) expire(now time.Time) {
	maps.DeleteFunc(c.at, func(_ netip.Addr, at time.Time) bool { return now.Sub(at) > filterLife })
	maps.DeleteFunc(c.ports, func(_ netip.AddrPort, at time.Time) bool { return now.Sub(at) > filterLife })
}

// sendsTo notes that we send something to an address, and reports whether we may
// have before: to that IP, and to that very port of it.
func (s *selfAddrs) sendsTo(to netip.AddrPort, now time.Time) (ip, port bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ip, port = s.contacted.has(to.Addr(), now), s.contacted.hasPort(to, now)
	s.contacted.note(to, now)
	return ip, port
}

// sentTo notes the peers that an earlier life of the node was in touch with: what
// it sent them may have opened filters that are open still.
func (s *selfAddrs) sentTo(peers iter.Seq[peerstore.Info]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for info := range peers {
		for _, a := range info.Addrs {
			if ap, ok := a.Addr.AddrPort(); ok && !a.Success.IsZero() {
				s.contacted.note(ap, a.Success)
			}
		}
	}
}

// cameIn takes in that a peer has connected to us. If no filter can have been
// open to it, the address at which it says it reached us can be reached. If one
// can have been, but not for the port it came from, that is a reason to hope; and
// enough to believe the router that says it lets everybody in there.
func (n *Node) cameIn(l *link, now time.Time) {
	at, ok := l.hello.Observed.AddrPort()
	from := reach.NetworkOf(l.addr.Addr())
	if !ok || !l.freshPort || l.conn.Virtual() || reach.ScopeOf(l.addr.Addr()) != reach.ScopeGlobal || reach.ScopeOf(at.Addr()) != reach.ScopeGlobal ||
		l.addr.Addr().Is4() != at.Addr().Is4() || // where it cannot have come
		from == reach.NetworkOf(at.Addr()) { // from within, by the way out
		return
	}
	s := &n.self
	s.mu.Lock()
	own := slices.Contains(s.ownLocked(), at)
	mapped := s.isMappedLocked(at)
	if !own && !mapped && s.votes.besides(at, from) < minVotes-1 { // by its own word alone
		s.mu.Unlock()
		return
	}
	v := s.verdicts[at].letIn(from, now)
	if l.unbidden || mapped && len(v.known) >= enoughKnown {
		v = verdict{yes: now}
	}
	events := s.judgeLocked(at, v)
	if v.reach() == ReachYes && !own && !mapped {
		delete(s.verdicts, seenBy(at.Addr().Is4()))
	}
	s.mu.Unlock()
	n.judged(events, now)
}

// couldNot takes in that a peer could not connect to us at an address, or, where
// every peer sees us at another one, at that where the asker sees us.
func (n *Node) couldNot(at netip.AddrPort, by wire.PeerID, via netip.Prefix, asked, now time.Time) (counts bool) {
	s := &n.self
	s.mu.Lock()
	before := s.verdicts[at]
	if before.yes.After(asked) { // somebody has come in meanwhile
		s.mu.Unlock()
		return false
	}
	v := before.failed(by, via, now)
	events := s.judgeLocked(at, v)
	if seen := seenBy(at.Addr().Is4()); at != seen && !slices.Contains(s.ownLocked(), at) && !s.isMappedLocked(at) {
		events = append(events, s.judgeLocked(seen, s.verdicts[seen].failed(by, via, now))...)
	}
	s.mu.Unlock()
	n.judged(events, now)
	return len(v.noes) != len(before.noes) || v.reach() == ReachNo
}

// seenBy stands for the address at which whoever is asked sees us, which a NAT
// may make another one for each.
func seenBy(is4 bool) netip.AddrPort {
	if is4 {
		return netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.AddrPortFrom(netip.IPv6Unspecified(), 0)
}

func (s *selfAddrs) isMappedLocked(at netip.AddrPort) bool {
	for _, m := range s.mapped {
		if m == at {
			return true
		}
	}
	return false
}

// judgeLocked sets the verdict on an address, and returns what is to be told of it.
func (s *selfAddrs) judgeLocked(at netip.AddrPort, v verdict) []ReachEvent {
	if s.verdicts == nil {
		s.verdicts = make(map[netip.AddrPort]verdict)
	}
	was := s.verdicts[at].reach()
	s.verdicts[at] = v
	if v.reach() == was {
		return nil
	}
	return []ReachEvent{{Addr: wire.AddrFrom(at), IPv6: !at.Addr().Is4(), Reach: v.reach(), Was: was}}
}
