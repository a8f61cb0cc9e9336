package node

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/kadquic/kadquic/internal/punch"
	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

// A socket is the one that the probes of a call go by, and where it is seen, or may be.
// The zero value is that of the node.
type socket struct {
	port    *quic.Port
	at      []netip.AddrPort
	mapping wire.Mapping // what the NAT does to it
}

func (s socket) close() {
	if s.port != nil {
		s.port.Close()
	}
}

// callAfresh is callThrough by a socket that has sent nothing yet: of which a NAT on
// the way has not made up its mind already, nor one on the other side of its packets.
func (n *Node) callAfresh(ctx context.Context, id, relay wire.PeerID) error {
	l, err := n.relayLink(ctx, relay)
	if err != nil {
		return fmt.Errorf("relay %s: %w", relay, err)
	}
	var s socket
	if m := n.mapping(); m != wire.MappingRandom {
		s = n.freshly(ctx, l.conn.RemoteAddr(), m)
	}
	if err = n.callBySocket(ctx, id, l, s, func() {}); err != nil {
		n.callEvent(CallEvent{Peer: id, Relay: relay, What: "failed", Err: err})
	}
	return err
}

// foresee finds out, behind a NAT that gives one port after the other, which come next,
// and behind one that is not known, what it does; and then calls again to say so. That
// takes a round trip, for which the first call, by which packets are relayed, does not
// wait.
func (n *Node) foresee(ctx context.Context, id wire.PeerID, l *link) {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(callFor)
	}
	n.spawn(func() {
		ctx, cancel := context.WithDeadline(n.ctx, deadline)
		defer cancel()
		if n.mapping() == wire.MappingUnknown {
			n.learnMapping(ctx)
		}
		var s socket
		switch n.mapping() {
		case wire.MappingSequential:
			if s = n.freshly(ctx, l.conn.RemoteAddr(), wire.MappingSequential); s.port == nil {
				return
			}
		case wire.MappingRandom:
		default: // the first call can do all that there is to do
			return
		}
		if err := n.callBySocket(ctx, id, l, s, func() {}); err != nil {
			n.callEvent(CallEvent{Peer: id, Relay: l.id, What: "failed", Err: err})
		}
	})
}

// freshly opens a socket for a call and finds out where others will see it, which takes
// a round trip to the relay. Behind a NAT that gives one port after the other that is
// foreseen, from where another new socket is seen. The zero socket if it cannot be had.
func (n *Node) freshly(ctx context.Context, relay netip.AddrPort, m wire.Mapping) socket {
	p, err := n.callSocket().OpenPort()
	if err != nil {
		return socket{}
	}
	s := socket{port: p, mapping: m}
	if m == wire.MappingSequential {
		s.at = n.nextPorts(ctx, relay)
	} else {
		var alike bool
		s.at, alike = n.seenByTwo(ctx, relay, p)
		switch {
		case m == wire.MappingUnknown && alike:
			s.mapping = wire.MappingIndependent
		case m == wire.MappingUnknown:
			s.at = nil
		}
	}
	if len(s.at) == 0 {
		p.Close()
		return socket{}
	}
	return s
}

// seenByTwo asks a relay and two strangers where they see a socket, until two of them
// agree: that comes first then.
func (n *Node) seenByTwo(ctx context.Context, relay netip.AddrPort, p *quic.Port) (at []netip.AddrPort, alike bool) {
	asked := []netip.AddrPort{relay}
	for _, by := range n.strangersIPv4() {
		if len(asked) < 3 && reach.NetworkOf(by.Addr()) != reach.NetworkOf(relay.Addr()) {
			asked = append(asked, by)
		}
	}
	var asking sync.WaitGroup
	defer asking.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan netip.AddrPort, len(asked))
	for _, by := range asked {
		asking.Go(func() {
			at, _ := n.whereSeen(ctx, by, p.SendProbe)
			answers <- at
		})
	}
	for range asked {
		a := <-answers
		if reach.ScopeOf(a.Addr()) != reach.ScopeGlobal {
			continue
		}
		if i := slices.Index(at, a); i >= 0 {
			at[0], at[i] = at[i], at[0]
			return at, true
		}
		at = append(at, a)
	}
	return at, false
}

// nextPorts asks a relay where it sees a socket that has sent nothing yet, and returns
// the ports that a NAT which gives one after the other gives next.
func (n *Node) nextPorts(ctx context.Context, relay netip.AddrPort) []netip.AddrPort {
	port, err := n.callSocket().OpenPort()
	if err != nil {
		return nil
	}
	defer port.Close()
	at, ok := n.whereSeen(ctx, relay, port.SendProbe)
	if !ok || !at.Addr().Is4() {
		return nil
	}
	return punch.NextPorts(at, wire.MaxGuess)
}
