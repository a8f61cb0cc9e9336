package node

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/kadquic/kadquic/internal/peerref"
	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/wire"
)

// Serving DIAL_BACK (SPEC.md §5), in one of two roles. If a peer asks for itself, this
// node chooses a third node and asks it to dial the peer. If a peer asks for another
// peer, this node is the third and dials. Neither role blocks the reader of the link.

const (
	dialBackProbeTimeout = 3 * time.Second // for the third
	delegateTimeout      = 4 * time.Second // for the node that asks the third: below the asker's RPCTimeout
	maxThirds            = 3               // tried one after another until one has dialled

	maxBacks = 16 // under way, of each part
)

// backs limits the dial-backs that the node serves. Goroutines may share it.
type backs struct {
	probing, delegating chan struct{} // one element per request under way
	limits              *reach.Limits
}

func newBacks() *backs {
	return &backs{probing: make(chan struct{}, maxBacks), delegating: make(chan struct{}, maxBacks), limits: reach.NewLimits()}
}

// dialsBack reports whether the node serves DIAL_BACK. It needs sockets on ports other
// than its own. A private network does not serve it, because Config.Admit refuses the
// unknown key of a dial-back.
func (n *Node) dialsBack() bool {
	return n.fresh != nil && n.config.Admit == nil && n.config.RPCTimeout >= delegateTimeout && n.mode() == wire.ModeServer
}

// serveDialBack starts to serve a DIAL_BACK request, or refuses it.
func (l *link) serveDialBack(id uint64, m wire.DialBack, now time.Time) error {
	n := l.node
	third := !m.Peer.IsZero()
	switch {
	case !n.dialsBack() || l.conn.Virtual():
		return l.Refuse(id, wire.CodeUnimplemented, "")
	case m.Peer == l.id || m.Peer == n.id:
		return l.Refuse(id, wire.CodeInvalid, "a third must dial")
	}
	addrs := n.probeTargets(l, m)
	if len(addrs) == 0 {
		return l.Refuse(id, wire.CodeInvalid, "no address that may be dialled")
	}
	slots, timeout := n.backs.delegating, delegateTimeout
	if third {
		slots, timeout = n.backs.probing, dialBackProbeTimeout
	}
	select {
	case slots <- struct{}{}:
	default:
		return l.Refuse(id, wire.CodeBusy, "too many are dialled")
	}
	if !n.backs.limits.Allow(l.addr.Addr(), addrs[0].Addr(), third, now) {
		<-slots
		return l.Refuse(id, wire.CodeBusy, "too many were dialled")
	}
	started := n.spawn(func() {
		defer func() { <-slots }()
		ctx, cancel := context.WithTimeout(n.ctx, timeout)
		defer cancel()
		if third {
			l.Reply(id, n.dialBack(ctx, addrs[0], m.Peer))
			return
		}
		l.Reply(id, n.delegate(ctx, l, addrs))
	})
	if !started {
		<-slots
	}
	return nil
}

// probeTargets returns the addresses of a request that may be dialled: global addresses
// that reach.MayTell accepts from the asker, not this node's own, and of the family of the
// first. Each is at the asker's own IP, or the request is padded to wire.DialBytes, which
// pays for the packets sent to another IP.
func (n *Node) probeTargets(l *link, m wire.DialBack) (addrs []netip.AddrPort) {
	own := n.reachCandidates()
	for _, a := range m.Addrs {
		ap, ok := a.AddrPort()
		switch {
		case !ok || reach.ScopeOf(ap.Addr()) != reach.ScopeGlobal || !reach.MayTell(l.addr.Addr(), ap.Addr()):
		case ap.Addr() != l.addr.Addr() && m.Padding < wire.DialBytes:
		case slices.ContainsFunc(own, func(p reach.Candidate) bool { return p.At.Addr() == ap.Addr() }):
		case len(addrs) > 0 && addrs[0].Addr().Is4() != ap.Addr().Is4():
		case !m.Peer.IsZero() && !n.reaches(ap.Addr()):
		default:
			addrs = append(addrs, ap)
		}
	}
	return addrs
}

// reaches reports whether the node has a socket, not bound to loopback, for an address.
func (n *Node) reaches(a netip.Addr) bool {
	t := n.transportFor(a)
	return t != nil && !t.LocalAddr().Addr().IsLoopback()
}

// dialBack dials a peer as the third node and returns the result.
func (n *Node) dialBack(ctx context.Context, at netip.AddrPort, id wire.PeerID) wire.Message {
	n.counters.knocks.Add(1)
	d := wire.Dialled{Addr: wire.AddrFrom(at), By: n.id}
	if err := n.probeDialBack(ctx, at, id); err != nil {
		n.config.Logger.Debug("dial back", "peer", id, "addr", at, "err", err)
		d.Code = wire.CodeUnreachable
	}
	return d
}

// delegate asks a third node to dial the asker. If it finds none, it dials itself.
func (n *Node) delegate(ctx context.Context, asker *link, addrs []netip.AddrPort) wire.Message {
	m := wire.DialBack{Peer: asker.id, Padding: wire.DialBytes}
	for _, ap := range addrs {
		m.Addrs = append(m.Addrs, wire.AddrFrom(ap))
	}
	for _, id := range n.thirds(asker, addrs) {
		_, reply, err := n.request(ctx, id, m)
		if d, ok := reply.(wire.Dialled); ok && slices.Contains(m.Addrs, d.Addr) && (d.Code == wire.CodeOK || d.Code == wire.CodeUnreachable) {
			d.By = id
			return d
		}
		if ctx.Err() != nil {
			break
		}
		n.config.Logger.Debug("a third does not dial back", "peer", id, "err", err)
	}
	// Without a third, this node dials itself. Success proves nothing, because the asker
	// has sent packets to this node; but a NAT that blocks this node blocks strangers too.
	i := slices.IndexFunc(addrs, func(ap netip.AddrPort) bool { return n.reaches(ap.Addr()) })
	if by, ok := ctx.Deadline(); i < 0 || !ok || time.Until(by) < dialBackProbeTimeout {
		return wire.Error{Code: wire.CodeBusy, Message: "nobody is there to dial"}
	}
	ctx, cancel := context.WithTimeout(ctx, dialBackProbeTimeout)
	defer cancel()
	return n.dialBack(ctx, addrs[i], asker.id)
}

// thirds chooses up to maxThirds contacts that may dial, in random order, connected ones
// first. None is in the network of the asker, of one of the addresses, or of this node.
func (n *Node) thirds(asker *link, addrs []netip.AddrPort) []wire.PeerID {
	not := []netip.Prefix{reach.NetworkOf(asker.addr.Addr())}
	for _, ap := range addrs {
		not = append(not, reach.NetworkOf(ap.Addr()))
	}
	for _, p := range n.reachCandidates() {
		not = append(not, reach.NetworkOf(p.At.Addr()))
	}
	var near, far []wire.PeerID
	for _, k := range n.routes.Refs() {
		at, ok := globalAddr(k, func(a netip.Addr) bool { return a.Is4() == addrs[0].Addr().Is4() })
		if !ok || k.ID == asker.id || slices.Contains(not, reach.NetworkOf(at)) {
			continue
		}
		if _, connected := n.pool.Lookup(publicKey(k.ID)); connected {
			near = append(near, k.ID)
		} else {
			far = append(far, k.ID)
		}
	}
	shuffle(near)
	shuffle(far)
	all := append(near, far...)
	return all[:min(len(all), maxThirds)]
}

func shuffle[T any](s []T) { rand.Shuffle(len(s), func(i, j int) { s[i], s[j] = s[j], s[i] }) }

// globalAddr returns the first wanted one of the public IPs at which this node
// authenticated a peer.
func globalAddr(ref *peerref.Ref, want func(netip.Addr) bool) (netip.Addr, bool) {
	for _, a := range ref.Addrs() {
		if ap, ok := a.AddrPort(); ok && reach.ScopeOf(ap.Addr()) == reach.ScopeGlobal && want(ap.Addr()) {
			return ap.Addr(), true
		}
	}
	return netip.Addr{}, false
}
