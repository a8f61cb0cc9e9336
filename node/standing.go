package node

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/wire"
)

// Reachability is what a node knows of how others reach it.
type Reachability struct {
	// Mode is how the node presents itself: ModeServer or ModeClient.
	Mode Mode
	// Told: by Config.Mode; else the node decides by what it finds.
	Told bool
	// Why says in words why.
	Why string
	// Addrs are the addresses of the node, those first that are best to dial.
	Addrs []OwnAddr
	// IPv4 and IPv6 tell of the NAT in front of the node.
	IPv4, IPv6 NAT
	// Asking: others are being asked just now whether they reach the node.
	Asking bool
	// Asked is when that was last begun; zero if never.
	Asked time.Time
}

// Reach sums up whether strangers reach the node at any of its public addresses.
func (r Reachability) Reach() Reach {
	sum := ReachUnknown
	for _, a := range r.Addrs {
		switch {
		case a.Reach == ReachYes:
			return ReachYes
		case a.Reach == ReachNo:
			sum = ReachNo
		}
	}
	if r.IPv4.Reach == ReachNo || r.IPv6.Reach == ReachNo {
		return ReachNo
	}
	return sum
}

// An OwnAddr is an address at which a node may be reached.
type OwnAddr struct {
	Addr  wire.Addr
	Local bool // of a socket or an interface of its own; else others see it there
	// Mapped: the router lets others in there, or says so. See Node.PortMappings.
	Mapped bool
	Public bool // else it means something only on this machine, or in its network
	Votes  int  // networks whose peers see it there
	Told   bool // to others, in its peer record
	Reach  Reach
	Since  time.Time // when Reach was found so last; zero if unknown
	Noes   int       // peers that were asked to connect there since, and could not
	Why    string    // says in words why Reach is as it is
}

// NAT is what stands before the node, for one family of addresses.
type NAT struct {
	Mapping Mapping
	Votes   int // networks whose peers have said where they see the node
	// Outside is the IP at which most of them see it; not valid if none does.
	Outside netip.Addr
	// Reach is ReachNo if nobody could connect where whoever was asked sees the
	// node, which need be no address that two of them agree on.
	Reach Reach
	Noes  int // peers that were asked to connect there, and could not
}

// Reachability returns what the node knows of how others reach it.
func (n *Node) Reachability() Reachability {
	r := Reachability{Mode: ModeServer, Told: n.config.Mode != ModeAuto}
	if n.mode() == wire.ModeClient {
		r.Mode = ModeClient
	}
	r.Asking, r.Asked = n.asking.state()
	now := time.Now()
	s := &n.self
	s.mu.Lock()
	told := s.addrsLocked()
	for _, p := range s.placesLocked() {
		a := wire.AddrFrom(p.at)
		if a == "" {
			continue
		}
		v := s.verdicts[p.at]
		r.Addrs = append(r.Addrs, OwnAddr{
			Addr: a, Local: p.own, Mapped: p.mapped, Public: reach.ScopeOf(p.at.Addr()) == reach.ScopeGlobal,
			Votes: p.votes, Told: slices.Contains(told, a),
			Reach: v.reach(), Since: v.since(), Noes: len(v.noes), Why: n.whyReach(p, v, now),
		})
	}
	r.IPv4, r.IPv6 = s.natLocked(true), s.natLocked(false)
	s.mu.Unlock()
	r.Why = n.why(r)
	return r
}

func (s *selfAddrs) natLocked(is4 bool) NAT {
	isOwn := func(a netip.AddrPort) bool { return slices.Contains(s.ownLocked(), a) }
	nat := NAT{Outside: s.votes.outside(is4)}
	nat.Mapping, nat.Votes = s.votes.mapping(is4, isOwn)
	v := s.verdicts[seenBy(is4)]
	nat.Reach, nat.Noes = v.reach(), len(v.noes)
	return nat
}

// whyReach says why the verdict on an address is what it is.
func (n *Node) whyReach(p place, v verdict, now time.Time) string {
	switch r := v.reach(); {
	case reach.ScopeOf(p.at.Addr()) == reach.ScopeLoopback:
		return "means this machine only"
	case reach.ScopeOf(p.at.Addr()) != reach.ScopeGlobal:
		return "means something in its own network only"
	case r == ReachYes && p.mapped:
		return "the router lets others in, and they come"
	case r == ReachYes:
		return "somebody connected to whom nothing had been sent"
	case r == ReachNo:
		return fmt.Sprintf("%d peers were asked to connect, and none could", len(v.noes))
	case v.hopeful(now):
		return "only peers connected to whom something had been sent, and a firewall may be open to those"
	case !n.asks():
		return n.whyNotAsked()
	case len(v.noes) == 1:
		return "1 peer was asked to connect, and could not; more are asked"
	case len(v.noes) > 1:
		return fmt.Sprintf("%d peers were asked to connect, and could not; more are asked", len(v.noes))
	}
	return "nobody has been found yet who could tell"
}

// whyNotAsked says why nobody is asked whether it reaches the node.
func (n *Node) whyNotAsked() string {
	switch {
	case n.config.Admit != nil:
		return "in a private network nobody is asked: strangers, by whom alone it shows, are kept out"
	case n.config.Mode == ModeClient:
		return "clients do not ask"
	}
	return "this node asks nobody"
}

func (n *Node) why(r Reachability) string {
	sum := r.Reach()
	public := slices.ContainsFunc(r.Addrs, func(a OwnAddr) bool { return a.Public })
	switch {
	case r.Told:
		return "it was told to be one"
	case r.Mode == ModeClient && sum == ReachNo:
		return fmt.Sprintf("%d peers were asked to connect to it, and none could", enoughNoes)
	case r.Mode == ModeClient:
		return "it has moved to where nobody has been asked yet"
	case sum == ReachYes:
		return "peers connect to it to whom it had sent nothing"
	case !n.asks():
		return "nothing says that others cannot reach it: " + n.whyNotAsked()
	case !public && r.IPv4.Votes+r.IPv6.Votes == 0:
		return "nothing says that others cannot reach it: nobody sees it at a public address"
	}
	return "nothing says that others cannot reach it"
}
