package node

import (
	"fmt"
	"slices"
	"time"

	"github.com/kadquic/kadquic/internal/reach"
)

// whyReach explains the verdict on an address.
func (n *Node) whyReach(p reach.Candidate, v reach.Verdict, now time.Time) string {
	switch a := v.Answer(); {
	case reach.ScopeOf(p.At.Addr()) == reach.ScopeLoopback:
		return "means this machine only"
	case reach.ScopeOf(p.At.Addr()) != reach.ScopeGlobal:
		return "means something in its own network only"
	case a == reach.Yes && p.Mapped:
		return "the router lets others in, and they come"
	case a == reach.Yes:
		return "somebody connected to whom nothing had been sent"
	case a == reach.No:
		return fmt.Sprintf("%d peers were asked to connect, and none could", v.Failures())
	case v.Hopeful(now):
		return "only peers connected to whom something had been sent, and a firewall may be open to those"
	case !n.asks():
		return n.whyNotAsked()
	case v.Failures() == 1:
		return fmt.Sprintf("1 peer was asked to connect, and could not; it takes %d to be sure", reach.EnoughFailures)
	case v.Failures() > 1:
		return fmt.Sprintf("%d peers were asked to connect, and could not; it takes %d to be sure", v.Failures(), reach.EnoughFailures)
	}
	return "nobody has been found yet who could tell"
}

// whyNotAsked explains why the node asks no peer for dial-backs.
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
	sum, known := r.Reach(), n.self.Sum(time.Now())
	public := slices.ContainsFunc(r.Addrs, func(a OwnAddr) bool { return a.Public })
	switch {
	case r.Told:
		return "it was told to be one"
	case r.Mode == ModeClient && sum == ReachNo:
		return fmt.Sprintf("%d peers were asked to connect to it, and none could", reach.EnoughFailures)
	case r.Mode == ModeClient && known.Hope && known.NATed:
		return "it is behind a NAT, and only peers connect to it to which it had sent something; so for now, until another does"
	case r.Mode == ModeClient && known.Doubt && known.NATed:
		return "it is behind a NAT, and of the few peers that there are to ask none could connect to it; so for now, until one does"
	case r.Mode == ModeClient && known.Doubt:
		return "of the few peers that there are to ask none could connect to it; so for now, until one does"
	case r.Mode == ModeClient:
		return "it has moved to where nobody has been asked yet"
	case n.pool.Len() == 0 && n.joiner.IsIsolated():
		if err := n.joiner.CutOff(); err != nil {
			return fmt.Sprintf("it is not connected to its network: %v", err)
		}
		return "it is not connected to any peer, so nobody can tell whether others reach it"
	case sum == ReachYes:
		return "peers connect to it to whom it had sent nothing"
	case !n.asks():
		return "nothing says that others cannot reach it: " + n.whyNotAsked()
	case !public && r.IPv4.Votes+r.IPv6.Votes == 0:
		return "nothing says that others cannot reach it: nobody sees it at a public address"
	}
	return "nothing says that others cannot reach it"
}
