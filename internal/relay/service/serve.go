package service

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/internal/relay"
	"github.com/kadquic/kadquic/wire"
)

// callTimeout is how long a callee may take to answer, so that the caller gets an answer
// within its RPC timeout.
const callTimeout = 4 * time.Second

// HandleReserve grants the peer a reservation, or takes it back.
func (s *Service) HandleReserve(l Link, id uint64, m wire.Reserve, now time.Time) error {
	if m.Release {
		s.Release(l.ID())
		s.release(l)
		return l.Reply(id, wire.Reserved{})
	}
	if !s.relaysFor(l) || !s.Host.MayReserve(now) {
		return l.Refuse(id, wire.CodeUnimplemented, "this node does not relay")
	}
	s.attach(l)
	life, err := s.Reserve(l.ID(), now)
	if err != nil {
		return l.Refuse(id, wire.CodeBusy, "no room for another reservation")
	}
	s.hold(l)
	s.Host.ReadDatagrams(l)
	return l.Reply(id, wire.Reserved{Lifetime: life, Rate: s.Rate()})
}

// HandleCall forwards a call to the callee. It takes a while, so it does not run in the
// goroutine that reads.
func (s *Service) HandleCall(l Link, id uint64, m wire.Call, now time.Time) error {
	if !s.relaysFor(l) {
		return l.Refuse(id, wire.CodeUnimplemented, "this node does not relay")
	}
	s.attach(l)
	to, err := s.Call(l.ID(), m.Peer, now)
	s.Host.ReadDatagrams(l) // afterwards, so that earlier datagrams do not count as stray
	switch {
	case errors.Is(err, relay.ErrBusy):
		return l.Refuse(id, wire.CodeBusy, "")
	case err != nil:
		return l.Refuse(id, wire.CodeUnreachable, "")
	}
	if !s.forwarding.TryGo(func() {
		called, code := s.forwardCall(l, to.(Link), m)
		if code != wire.CodeOK {
			l.Refuse(id, code, "")
			return
		}
		l.Reply(id, called) // an error ends the link, which its reader sees
	}) {
		return l.Refuse(id, wire.CodeBusy, "too many calls")
	}
	return nil
}

// relaysFor reports whether the node relays for the peer of a link.
func (s *Service) relaysFor(l Link) bool { return s.Host.Relays() && l.MaxDatagram() > 0 }

// attach gives a link to the relay server.
func (s *Service) attach(l Link) {
	var network netip.Prefix // loopback is not limited as a network
	if a := l.RemoteAddr().Addr(); !a.IsLoopback() {
		network = reach.SiteOf(a)
	}
	s.Attach(l.ID(), network, l)
}

// forwardCall tells the callee of a call, and returns its answer for the caller.
func (s *Service) forwardCall(from, to Link, m wire.Call) (wire.Called, wire.Code) {
	ctx, cancel := context.WithTimeout(s.Background.Context(), min(callTimeout, s.RPCTimeout))
	defer cancel()
	forwarded := wire.Call{Peer: from.ID(), Passed: true, Offer: m.Offer, Padding: m.Padding, Seen: addrFor(to, from)}
	reply, _, err := to.Call(ctx, forwarded)
	if err != nil {
		return wire.Called{}, wire.CodeUnreachable
	}
	switch reply := reply.(type) {
	case wire.Called:
		reply.Seen = addrFor(from, to)
		return reply, wire.CodeOK
	case wire.Error:
		if reply.Code != wire.CodeOK {
			return wire.Called{}, reply.Code
		}
		return wire.Called{}, wire.CodeInternal
	}
	return wire.Called{}, wire.CodeUnreachable
}

// addrFor returns the address of the peer of l as this node sees it, if the peer of listener
// may know it: a private address means nothing outside its network.
func addrFor(listener, l Link) wire.Addr {
	at := l.CurrentAddr()
	if !reach.MayTell(listener.CurrentAddr().Addr(), at.Addr()) {
		return ""
	}
	return wire.AddrFrom(at)
}
