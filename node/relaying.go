package node

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/internal/relay"
	"github.com/kadquic/kadquic/wire"
)

// Serving as a relay (SPEC.md §5, internal/relay).

const (
	// callTimeout is how long a callee may take to answer, so that the caller gets an
	// answer within its RPCTimeout.
	callTimeout = 4 * time.Second
	// maxPassing bounds the calls that are being passed on.
	maxPassing = 256
	// maxCalls bounds the calls to us that are being answered.
	maxCalls = 64
)

// RelayStats are what a node does for others as their relay.
type RelayStats struct {
	Reservations int   // held now
	Flows        int   // pairs of peers whose packets are passed on, now
	Calls        int64 // passed on
	Packets      int64
	Bytes        int64
	Refused      int64 // reservations and calls, for a limit
	Dropped      int64 // packets over a limit, without a call, or whose recipient was gone
}

func (n *Node) relayStats() RelayStats {
	s := n.relay.Stats()
	return RelayStats{s.Reservations, s.Flows, s.Calls, s.Packets, s.Bytes, s.Refused, s.Dropped()}
}

// relaysFor reports whether the node relays for the peer of a link.
func (n *Node) relaysFor(l *link) bool {
	return !n.config.NoRelay && n.mode() == wire.ModeServer && l.MaxDatagram() > 0
}

// attach gives the link to the relay server, and reads the datagrams to relay.
func (n *Node) attach(l *link) {
	var network netip.Prefix // loopback is not limited as a network
	if a := l.addr.Addr(); !a.IsLoopback() {
		network = reach.SiteOf(a)
	}
	n.relay.Attach(l.id, network, l)
}

// unrelay forgets a link that has ended.
func (n *Node) unrelay(l *link) {
	n.relay.Detach(l.id, l)
	l.unhold()
}

// hold keeps the link's connection for the sake of the peer's place here.
func (l *link) hold() {
	c := &l.carriage
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.release == nil {
		c.release = l.conn.Hold()
	}
}

func (l *link) unhold() {
	c := &l.carriage
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.release != nil {
		c.release()
		c.release = nil
	}
}

// tendRelay drops reservations and flows that have ended.
func (n *Node) tendRelay(now time.Time) {
	n.relay.Expire(now)
	for _, l := range n.links.all() {
		if !n.relay.Reserved(l.id, now) {
			l.unhold()
		}
	}
}

// serveReserve gives the peer a place, or takes it back.
func (l *link) serveReserve(id uint64, m wire.Reserve, now time.Time) error {
	n := l.node
	if m.Release {
		n.relay.Release(l.id)
		l.unhold()
		return l.Reply(id, wire.Reserved{})
	}
	if !n.relaysFor(l) || !n.self.MayRelay(now) {
		return l.Refuse(id, wire.CodeUnimplemented, "this node does not relay")
	}
	n.attach(l)
	life, err := n.relay.Reserve(l.id, now)
	if err != nil {
		return l.Refuse(id, wire.CodeBusy, "no room for another reservation")
	}
	l.hold()
	l.carry()
	return l.Reply(id, wire.Reserved{Lifetime: life, Rate: n.relay.Rate()})
}

// serveCall forwards a call to the callee, or answers a call that a relay has forwarded to this
// node. Both take a while, so they do not run in the goroutine that reads.
func (l *link) serveCall(id uint64, m wire.Call, now time.Time) error {
	n := l.node
	if m.Passed {
		if !n.holdsReservation(l) {
			return l.Refuse(id, wire.CodeUnreachable, "no reservation there")
		}
		if !l.quota.Calls.AllowN(now, 1) {
			return l.Refuse(id, wire.CodeBusy, "too many calls by one relay")
		}
		return l.answerCall(id, n.relays.calls, func() (wire.Message, error) {
			c, err := n.sessions.Answer(l, m)
			return c, err
		})
	}
	if !n.relaysFor(l) {
		return l.Refuse(id, wire.CodeUnimplemented, "this node does not relay")
	}
	n.attach(l)
	to, err := n.relay.Call(l.id, m.Peer, now)
	l.carry() // afterwards, so that earlier datagrams do not count as stray
	if err != nil {
		return l.Refuse(id, callCode(err), "")
	}
	return l.answerCall(id, n.passing, func() (wire.Message, error) { return n.passOn(l, to.(*link), m) })
}

// answerCall answers a CALL by what f returns, in a goroutine that takes one of
// the slots.
func (l *link) answerCall(id uint64, slots chan struct{}, f func() (wire.Message, error)) error {
	select {
	case slots <- struct{}{}:
	default:
		return l.Refuse(id, wire.CodeBusy, "too many calls")
	}
	started := l.node.spawn(func() {
		defer func() { <-slots }()
		m, err := f()
		if err != nil {
			l.Refuse(id, callCode(err), "")
			return
		}
		l.Reply(id, m) // an error ends the link, which its reader sees
	})
	if !started {
		<-slots
	}
	return nil
}

// passOn tells the peer of a link that another calls, and returns the answer for
// that one.
func (n *Node) passOn(from, to *link, m wire.Call) (wire.Message, error) {
	ctx, cancel := context.WithTimeout(n.ctx, min(callTimeout, n.config.RPCTimeout))
	defer cancel()
	reply, _, err := to.Call(ctx, wire.Call{Peer: from.id, Passed: true, Offer: m.Offer, Padding: m.Padding, Seen: from.seenFor(to)})
	if err != nil {
		return nil, wire.CodeUnreachable
	}
	switch reply := reply.(type) {
	case wire.Called:
		reply.Seen = to.seenFor(from)
		return reply, nil
	case wire.Error:
		return nil, reply.Code
	}
	return nil, wire.CodeUnreachable
}

// seenFor returns where we see the peer of l, if the peer of another link may be
// told: an address of a house means nothing outside it.
func (l *link) seenFor(other *link) wire.Addr {
	at := l.conn.RemoteAddr()
	if !reach.MayTell(other.conn.RemoteAddr().Addr(), at.Addr()) {
		return ""
	}
	return wire.AddrFrom(at)
}

// callCode returns the code that the caller gets for an error.
func callCode(err error) wire.Code {
	var code wire.Code
	switch {
	case errors.As(err, &code) && code != wire.CodeOK:
		return code
	case errors.Is(err, relay.ErrBusy), errors.Is(err, ErrBusy):
		return wire.CodeBusy
	case errors.Is(err, relay.ErrUnreachable), errors.Is(err, ErrUnreachable):
		return wire.CodeUnreachable
	}
	return wire.CodeInternal
}
