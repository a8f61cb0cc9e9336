package node

import (
	"context"
	"net/netip"
	"time"

	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/wire"
)

// Reach says whether others reach an address of a node.
type Reach uint8

const (
	// ReachUnknown: no stranger has tried to connect.
	ReachUnknown = Reach(reach.Unknown)
	// ReachYes: a peer has connected to which the node had sent nothing.
	ReachYes = Reach(reach.Yes)
	// ReachNo: three peers were asked to connect to it, and none could.
	ReachNo = Reach(reach.No)
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

// Reachability describes how peers reach a node.
type Reachability struct {
	// Mode is how the node presents itself: ModeServer or ModeClient.
	Mode Mode
	// Told: Config.Mode sets the mode; otherwise the node decides.
	Told bool
	// Why says in words why.
	Why string
	// Addrs are the addresses of the node, those first that are best to dial.
	Addrs []OwnAddr
	// IPv4 and IPv6 tell of the NAT in front of the node.
	IPv4, IPv6 NAT
	// Thorough: each address on which there is no verdict has been asked about three
	// times, so that to wait for minutes tells no more.
	Thorough bool
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
	Local bool // of a socket or an interface of the machine; otherwise peers see it there
	// Mapped: the router says that it forwards the address. See Node.PortMappings.
	Mapped bool
	Public bool // else it means something only on this machine, or in its network
	Votes  int  // networks whose peers see it there
	Told   bool // to others, in its peer record
	Reach  Reach
	Since  time.Time // when Reach was found so last; zero if unknown
	Noes   int       // peers that were asked to connect there since, and could not
	Why    string    // says in words why Reach is as it is
}

// NAT describes the NAT in front of the node for one address family.
type NAT struct {
	Mapping Mapping
	Votes   int // IP addresses of peers (of IPv6, /64) that have said where they see the node
	// Outside is the IP at which most of them see it; not valid if none does.
	Outside netip.Addr
	// Reach is ReachNo if no peer could connect to the address at which the asked peer sees
	// the node, which may differ for each asked peer.
	Reach Reach
	Noes  int // peers that were asked to connect there, and could not
}

// Reachability returns what the node knows of how others reach it.
func (n *Node) Reachability() Reachability {
	r := Reachability{Mode: ModeServer, Told: n.config.Mode != ModeAuto}
	if n.mode() == wire.ModeClient {
		r.Mode = ModeClient
	}
	r.Asking, r.Asked = n.reachProbe.rounds.State()
	now := time.Now()
	r.Thorough = n.reachProbe.rounds.Progress(n.self.Untried(now)).Thorough
	known := n.self.Report(now)
	for _, k := range known.Places {
		r.Addrs = append(r.Addrs, OwnAddr{
			Addr: k.Addr, Local: k.Own, Mapped: k.Mapped, Public: reach.ScopeOf(k.At.Addr()) == reach.ScopeGlobal,
			Votes: k.Votes, Told: k.Told,
			Reach: Reach(k.Verdict.Answer()), Since: k.Verdict.Since(), Noes: k.Verdict.Failures(), Why: n.whyReach(k.Candidate, k.Verdict, now),
		})
	}
	r.IPv4, r.IPv6 = natOf(known.IPv4), natOf(known.IPv6)
	r.Why = n.why(r)
	return r
}

func natOf(k reach.NAT) NAT {
	return NAT{
		Mapping: k.Mapping, Votes: k.Votes, Outside: k.Outside,
		Reach: Reach(k.Verdict.Answer()), Noes: k.Verdict.Failures(),
	}
}

// CheckReachability asks peers at once for dial-backs to each public address of the node, and
// waits for their answers, a few seconds. It returns the current knowledge also if ctx ends
// first, and if no peer can be asked.
func (n *Node) CheckReachability(ctx context.Context) (Reachability, error) {
	if err := n.running(); err != nil {
		return Reachability{}, err
	}
	if err := context.Cause(ctx); err != nil {
		return n.Reachability(), err
	}
	if !n.asks() {
		return n.Reachability(), nil
	}
	force := true
	for {
		news := n.reachProbe.newsChan()
		n.askAll(n.ctx, force)
		force = false
		if running, _ := n.reachProbe.rounds.State(); !running {
			return n.Reachability(), nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return n.Reachability(), context.Cause(ctx)
		case <-n.ctx.Done():
			return n.Reachability(), ErrClosed
		}
	}
}
