package node

import (
	"slices"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/wire"
)

// This file feeds package reach: reports of peers, inbound connections, and the addresses of the
// machine.

// newSelf makes the node's reach.Self.
func (n *Node) newSelf() *reach.Self {
	return reach.New(reach.Config{Alone: n.hasFewObservers, Machine: machineInterfaces})
}

// hasFewObservers reports whether fewer than reach.MinVotes connected peers see the node's address. A
// peer behind a relay does not see it, and a dial-back repeats the address that it was given.
func (n *Node) hasFewObservers() bool {
	n.links.mu.Lock()
	defer n.links.mu.Unlock()
	voters := 0
	for l := range n.links.of {
		if !l.conn.Virtual() && !(l.IsUp() && l.isDialBackProbe()) {
			voters++
		}
	}
	return voters < reach.MinVotes
}

// observed notes that a peer sees us at addr.
func (n *Node) observed(l *link, addr wire.Addr) {
	ap, ok := addr.AddrPort()
	if !ok || !reach.MayTell(l.addr.Addr(), ap.Addr()) || l.conn.Virtual() {
		return
	}
	if reach.ScopeOf(l.addr.Addr()) == reach.ScopeGlobal && l.addr.Addr().Is4() != ap.Addr().Is4() {
		return // it cannot see us there; only what is translated on the way (NAT64) can
	}
	l.sees.Store(&ap)
	n.self.Vote(l.addr.Addr(), l.conn.LocalAddr().Port(), ap, time.Now())
}

// countVotes confirms the votes of connected peers, and drops expired ones together with the
// verdicts on addresses that the node no longer has.
func (n *Node) countVotes(now time.Time) {
	for _, l := range n.links.all() {
		if ap := l.sees.Load(); ap != nil && l.IsUp() {
			n.self.Stand(l.addr.Addr(), l.conn.LocalAddr().Port(), *ap, now)
		}
		n.self.MarkContacted(l.conn.RemoteAddr(), now) // which of a virtual one is where its path leads
	}
	n.self.Expire(now)
}

// sentBefore notes the peers that an earlier life of the node was in touch with: what
// it sent them may have opened filters that are open still.
func (n *Node) sentBefore() {
	for info := range n.peers.All() {
		for _, a := range info.Addrs {
			if ap, ok := a.Addr.AddrPort(); ok && !a.Success.IsZero() {
				n.self.MarkContacted(ap, a.Success)
			}
		}
	}
}

// onInbound takes in that a peer has connected to us.
func (n *Node) onInbound(l *link, now time.Time) {
	at, ok := l.hello.Observed.AddrPort()
	if !ok || l.conn.Virtual() {
		return
	}
	changes, ok := n.self.OnInbound(reach.Entry{From: l.addr.Addr(), At: at, Fresh: l.freshPort, Unsolicited: l.unsolicited}, now)
	if ok {
		n.judged(changes, now)
	}
}

// judged is called when verdicts have changed, or may have.
func (n *Node) judged(changes []reach.Change, now time.Time) {
	for _, c := range changes {
		e := ReachEvent{Addr: wire.AddrFrom(c.At), IPv6: !c.At.Addr().Is4(), Reach: Reach(c.Answer), Was: Reach(c.Was)}
		n.config.Logger.Info("reachability", "addr", e.Addr, "now", e.Reach, "was", e.Was)
		n.reachEvent(e)
	}
	n.reachProbe.tell()
	n.decideMode(now)
	if len(n.relays.Relays()) == 0 && n.relays.Host.WantsRelays() {
		n.relays.Wake()
	}
}

// reachCandidates returns what we believe of where we are, widest scope first.
func (n *Node) reachCandidates() []reach.Candidate { return n.self.Candidates(time.Now()) }

// addrs returns where others can reach us, the best first.
func (n *Node) addrs() []wire.Addr { return n.self.Addrs(time.Now()) }

// dialable drops addresses that only the node's own user may have it dial. A signed record may
// come from anywhere, so global addresses stay, and narrower ones if the node itself is in the
// same scope. Names are dropped, because they may resolve to any address.
func (n *Node) dialable(addrs []wire.Addr) []wire.Addr {
	widest := n.scope()
	return slices.DeleteFunc(slices.Clone(addrs), func(a wire.Addr) bool {
		ap, ok := a.AddrPort()
		return !ok || reach.ScopeOf(ap.Addr()) == reach.ScopeNone || reach.ScopeOf(ap.Addr()) < widest
	})
}

// scope returns the widest scope in which the node has a connection.
func (n *Node) scope() reach.Scope {
	widest := reach.ScopeLoopback
	for _, l := range n.links.all() {
		widest = max(widest, reach.ScopeOf(l.addr.Addr()))
	}
	return widest
}

// Addrs returns the addresses at which this node can be reached, as far as it
// knows, widest scope first, each with /p2p/ID: ready to be another's bootstrap.
// Those by relays come last.
func (n *Node) Addrs() []ma.Multiaddr {
	var all []ma.Multiaddr
	for _, a := range n.addrs() {
		all = append(all, wire.JoinPeer(a, n.id))
	}
	return append(all, n.circuits()...)
}
