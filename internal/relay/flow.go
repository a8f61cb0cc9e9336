package relay

import (
	"bytes"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// A pair is two peers, the one with the smaller key first.
type pair [2]wire.PeerID

func pairOf(a, b wire.PeerID) pair {
	if bytes.Compare(a[:], b[:]) > 0 {
		return pair{b, a}
	}
	return pair{a, b}
}

// A flow is the traffic between two peers, beginning with a call.
type flow struct {
	called  [2]bool  // which of the pair was called: that peer must have a reservation
	network *network // of the first caller, whose limits it counts for; nil: none
	callee  *peer    // the first callee, likewise
	used    time.Time
	bytes   bucket
	floor   bucket // its guaranteed share while other flows flood
	number  uint16 // of the next packet that is cut
}

// Call notes that an attached peer calls another, and returns the callee's link. From then on
// packets are forwarded between the two, beginning with those that the caller sent before
// the call arrived. The error is ErrUnreachable or ErrBusy.
func (s *Server) Call(from, to wire.PeerID, now time.Time) (Link, error) {
	s.mu.Lock()
	caller, callee := s.peers[from], s.peers[to]
	if caller == nil || from == to || !callee.reserved(now) {
		s.mu.Unlock()
		return nil, ErrUnreachable
	}
	if !s.mayCall(caller, callee, now) {
		s.stats.Refused++
		s.mu.Unlock()
		return nil, ErrBusy
	}
	at := pairOf(from, to)
	f := s.flow(at, now)
	if f == nil {
		if f = s.begin(at, caller, callee); f == nil {
			s.stats.Refused++
			s.mu.Unlock()
			return nil, ErrBusy
		}
	}
	f.used = now
	if at[0] == to {
		f.called[0] = true
	} else {
		f.called[1] = true
	}
	s.stats.Calls++
	s.dropEarly(caller, now)
	waiting := caller.early
	caller.early = nil
	s.early -= len(waiting)
	link := callee.link
	s.mu.Unlock()
	for _, e := range waiting {
		s.Forward(from, e.b, now) // datagrams for other peers wait again
	}
	return link, nil
}

// flow returns the flow of a pair, or nil if there is none or it has ended.
func (s *Server) flow(at pair, now time.Time) *flow {
	f := s.flows[at]
	if f != nil && now.Sub(f.used) > s.limits.FlowIdle {
		s.end(at, f)
		return nil
	}
	return f
}

// mayCall reports whether the limits of both peers allow a call, and counts it.
func (s *Server) mayCall(caller, callee *peer, now time.Time) bool {
	l := &s.limits
	if n := caller.network; n != nil && n.calls.fill(now, l.NetworkCalls, l.NetworkCallBurst) < 1 {
		return false
	}
	if !callee.calls.take(now, l.PeerCalls, l.PeerCallBurst, 1) {
		return false
	}
	if caller.network != nil {
		caller.network.calls.tokens--
	}
	return true
}

// begin makes a flow, or returns nil if a limit is reached.
func (s *Server) begin(at pair, caller, callee *peer) *flow {
	n, l := caller.network, &s.limits
	if len(s.flows) >= l.Flows || callee.flows >= l.PeerFlows || n != nil && (n.flows >= l.NetworkFlows || s.between(n, callee) >= max(l.PeerFlows/4, 1)) {
		return nil
	}
	f := &flow{network: n, callee: callee}
	if n != nil {
		n.flows++
	}
	callee.flows++
	s.flows[at] = f
	return f
}

// between counts the flows that peers of a network have made to one callee. They are limited
// to a part of the callee's flows, so that other networks can still call it.
func (s *Server) between(n *network, callee *peer) (count int) {
	for _, f := range s.flows {
		if f.network == n && f.callee == callee {
			count++
		}
	}
	return count
}

func (s *Server) end(at pair, f *flow) {
	if f.network != nil {
		f.network.flows--
		s.tidy(f.network)
	}
	f.callee.flows--
	delete(s.flows, at)
}

// Forward forwards a datagram from an attached peer to the peer that it names, or drops it. It
// changes b, and keeps it only if it waits for its call.
func (s *Server) Forward(from wire.PeerID, b []byte, now time.Time) {
	d, ok := Parse(b)
	s.mu.Lock()
	sender, to := s.peers[from], s.peers[d.Peer]
	if !ok || d.From || sender == nil {
		s.stats.Stray++
		s.mu.Unlock()
		return
	}
	at := pairOf(from, d.Peer)
	f := s.flow(at, now)
	switch {
	case f == nil && to.reserved(now):
		s.wait(sender, b, now)
		s.mu.Unlock()
		return
	case f == nil || to == nil || !s.welcome(at, f, now):
		s.stats.Stray++
		s.mu.Unlock()
		return
	case !s.within(f, sender, len(b), now):
		s.stats.Limited++
		s.mu.Unlock()
		return
	}
	f.used = now
	link := to.link
	var number uint16
	if d.Kind == Whole {
		f.number++
		number = f.number
	}
	s.mu.Unlock()

	if d.Kind == Whole && len(b) > link.MaxDatagram() {
		ok = send(link, Datagram{Kind: FirstCut, From: true, Peer: from, Number: number, Content: d.Content})
	} else {
		b[0] |= fromRelay
		copy(b[1:], from[:])
		ok = link.SendDatagram(b)
	}
	s.mu.Lock()
	if ok {
		s.stats.Packets++
		s.stats.Bytes += int64(len(b))
	} else {
		s.stats.Lost++
	}
	s.mu.Unlock()
}

// welcome reports whether one of the two was called and has a reservation.
func (s *Server) welcome(at pair, f *flow, now time.Time) bool {
	return f.called[0] && s.peers[at[0]].reserved(now) || f.called[1] && s.peers[at[1]].reserved(now)
}

// within takes n bytes from the limits of the flow, of the sender's network and of the relay, if
// all three allow it.
func (s *Server) within(f *flow, sender *peer, n int, now time.Time) bool {
	l := &s.limits
	spare := l.Burst / 4
	if f.floor.take(now, l.FlowRate/8, l.FlowBurst/8, n) {
		spare = 0
	}
	if f.bytes.fill(now, l.FlowRate, l.FlowBurst) < float64(n) || s.total.fill(now, l.Rate, l.Burst) < float64(n+spare) {
		return false
	}
	if sender.network != nil && !sender.network.bytes.take(now, l.NetworkRate, l.NetworkBurst, n) {
		return false
	}
	f.bytes.tokens -= float64(n)
	s.total.tokens -= float64(n)
	return true
}

// wait keeps a datagram of a peer whose call may follow, or drops it.
func (s *Server) wait(sender *peer, b []byte, now time.Time) {
	s.dropEarly(sender, now)
	if len(sender.early) >= maxEarly || s.early >= maxEarlyAll {
		s.stats.Stray++
		return
	}
	sender.early = append(sender.early, early{now, b})
	s.early++
}

// dropEarly drops datagrams whose call has not come in time.
func (s *Server) dropEarly(p *peer, now time.Time) {
	n := 0
	for n < len(p.early) && now.Sub(p.early[n].at) > earlyLife {
		n++
	}
	if n > 0 {
		p.early = append([]early(nil), p.early[n:]...)
		s.early -= n
		s.stats.Stray += int64(n)
	}
}
