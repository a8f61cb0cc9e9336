package node

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// Reachability is what a node knows of how others reach it.
type Reachability struct {
	// Mode is how the node presents itself: ModeServer or ModeClient.
	Mode Mode
	// Why says in words why.
	Why string
	// Addrs are the addresses of the node, those first that are best to dial.
	Addrs []OwnAddr
	// IPv4 and IPv6 tell of the NAT in front of the node.
	IPv4, IPv6 NAT
}

// An OwnAddr is an address at which a node may be reached.
type OwnAddr struct {
	Addr  wire.Addr
	Local bool // of a socket or an interface of its own; else others see it there
	// Mapped: the router lets others in there, or says so. See Node.PortMappings.
	Mapped bool
	Votes  int  // networks whose peers see it there
	Told   bool // to others, in its peer record
	Reach  Reach
	Since  time.Time // when Reach was found so last; zero if unknown
	Noes   int       // peers that were asked to connect there since, and could not
}

// NAT is what stands before the node, for one family of addresses.
type NAT struct {
	Mapping Mapping
	Votes   int // networks whose peers have said where they see the node
}

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

// enoughNoes is how many peers must have failed to connect to an address before
// it counts as out of reach: what one says may be a lie, and what two say bad
// luck.
const enoughNoes = 3

// A verdict is what is known of one address. The zero value is: nothing.
type verdict struct {
	yes  time.Time     // when somebody came in there last
	noes []wire.PeerID // who could not since, each once
	no   time.Time     // the last of them
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

// failed notes that a peer could not connect.
func (v verdict) failed(by wire.PeerID, now time.Time) verdict {
	v.no = now
	if !slices.Contains(v.noes, by) && len(v.noes) < enoughNoes {
		v.noes = append(slices.Clone(v.noes), by)
	}
	return v
}

// contacted is whom we sent anything to lately: the filter of a NAT or firewall
// may be open to them, so that they connect says nothing of others. The zero
// value is empty; goroutines must not share it.
type contacted struct {
	at map[netip.Addr]time.Time
}

const (
	// filterLife is longer than NATs and firewalls keep their filters open
	// (RFC 4787 §4.3: 2 minutes at least, 5 recommended).
	filterLife   = 10 * time.Minute
	maxContacted = 4096
)

func (c *contacted) note(ip netip.Addr, now time.Time) {
	if _, ok := c.at[ip]; !ok && len(c.at) >= maxContacted {
		return // has says so of everybody then
	}
	if c.at == nil {
		c.at = make(map[netip.Addr]time.Time)
	}
	c.at[ip] = now
}

// has reports whether we may have sent something to ip.
func (c *contacted) has(ip netip.Addr, now time.Time) bool {
	at, ok := c.at[ip]
	return ok && now.Sub(at) <= filterLife || len(c.at) >= maxContacted
}

func (c *contacted) expire(now time.Time) {
	for ip, at := range c.at {
		if now.Sub(at) > filterLife {
			delete(c.at, ip)
		}
	}
}

// sendsTo notes that we send something to ip, and reports whether we may have
// before.
func (s *selfAddrs) sendsTo(ip netip.Addr, now time.Time) (before bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before = s.contacted.has(ip, now)
	s.contacted.note(ip, now)
	return before
}

// cameIn takes in that a peer has connected to us. If no filter can have been
// open to it, the address at which it says it reached us can be reached.
func (n *Node) cameIn(l *link, now time.Time) {
	at, ok := l.hello.Observed.AddrPort()
	if !ok || !l.unbidden || scopeOf(l.addr.Addr()) != scopeGlobal || scopeOf(at.Addr()) != scopeGlobal ||
		networkOf(l.addr.Addr()) == networkOf(at.Addr()) { // from within, by the way out
		return
	}
	s := &n.self
	s.mu.Lock()
	defer s.mu.Unlock()
	surely := func(p place) bool { return p.at == at && (p.own || p.mapped || p.votes >= minVotes) } // not by its own word alone
	if slices.ContainsFunc(s.placesLocked(), surely) {
		s.judgeLocked(at, verdict{yes: now})
	}
}

func (s *selfAddrs) judgeLocked(at netip.AddrPort, v verdict) {
	if s.verdicts == nil {
		s.verdicts = make(map[netip.AddrPort]verdict)
	}
	s.verdicts[at] = v
}

// Reachability returns what the node knows of how others reach it.
func (n *Node) Reachability() Reachability {
	r := Reachability{Mode: ModeServer}
	if n.mode() == wire.ModeClient {
		r.Mode = ModeClient
	}
	s := &n.self
	s.mu.Lock()
	defer s.mu.Unlock()
	told := s.addrsLocked()
	for _, p := range s.placesLocked() {
		a := wire.AddrFrom(p.at)
		if a == "" {
			continue
		}
		v := s.verdicts[p.at]
		r.Addrs = append(r.Addrs, OwnAddr{
			Addr: a, Local: p.own, Mapped: p.mapped, Votes: p.votes, Told: slices.Contains(told, a),
			Reach: v.reach(), Since: v.since(), Noes: len(v.noes),
		})
	}
	isOwn := func(a netip.AddrPort) bool { return slices.Contains(s.ownLocked(), a) }
	r.IPv4.Mapping, r.IPv4.Votes = s.votes.mapping(true, isOwn)
	r.IPv6.Mapping, r.IPv6.Votes = s.votes.mapping(false, isOwn)
	r.Why = n.why(r)
	return r
}

func (n *Node) why(r Reachability) string {
	yes := slices.ContainsFunc(r.Addrs, func(a OwnAddr) bool { return a.Reach == ReachYes })
	switch {
	case n.config.Mode != ModeAuto:
		return "it was told to be one"
	case r.Mode == ModeClient:
		return fmt.Sprintf("%d peers were asked to connect to it, and none could", enoughNoes)
	case yes:
		return "peers connect to it to whom it had sent nothing"
	}
	return "nothing says that others cannot reach it"
}
