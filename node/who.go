package node

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/kadquic/kadquic/internal/punch"
	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

// randomUint64 draws what nobody can foresee.
func randomUint64() uint64 {
	var b [8]byte
	rand.Read(b[:])
	return binary.BigEndian.Uint64(b[:])
}

const (
	maxWhos  = 64                     // questions where others see a socket of ours, under way
	whoAgain = 250 * time.Millisecond // they are lost like any packet
	whoTries = 3

	// whoAsked is how many networks are asked what NAT stands before us, of which
	// reach.MinScattered must answer; lookAtNAT how soon again, when they have.
	whoAsked  = 5
	lookAtNAT = 4 * time.Minute
)

// whereSeen asks a node from where the packets of one of our sockets come to it. That
// costs a round trip and 27 bytes each way; anybody between could lie.
func (n *Node) whereSeen(ctx context.Context, by netip.AddrPort, send func(netip.AddrPort, []byte) error) (netip.AddrPort, bool) {
	ts := n.trysts
	nonce, answer := randomUint64(), make(chan netip.AddrPort, 1)
	ts.mu.Lock()
	full := len(ts.whos) >= maxWhos
	if !full {
		ts.whos[nonce] = answer
	}
	ts.mu.Unlock()
	if full {
		return netip.AddrPort{}, false
	}
	defer func() {
		ts.mu.Lock()
		defer ts.mu.Unlock()
		delete(ts.whos, nonce)
	}()
	n.self.SendsTo(by, time.Now())
	again := time.NewTicker(whoAgain)
	defer again.Stop()
	for range whoTries {
		if send(by, punch.AppendWho(nil, nonce)) != nil {
			break
		}
		select {
		case at := <-answer:
			return at, reach.ScopeOf(at.Addr()) == reach.ScopeGlobal
		case <-again.C:
		case <-ctx.Done():
			return netip.AddrPort{}, false
		}
	}
	return netip.AddrPort{}, false
}

// freshly opens a socket for a call and finds out where others will see it, which takes
// a round trip to the relay. Behind a NAT that gives one port after the other that is
// foreseen, from where another new socket is seen. The zero socket if it cannot be had.
func (n *Node) freshly(ctx context.Context, relay netip.AddrPort, m wire.Mapping) socket {
	p, err := n.caller().OpenPort()
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
	port, err := n.caller().OpenPort()
	if err != nil {
		return nil
	}
	defer port.Close()
	at, ok := n.whereSeen(ctx, relay, port.SendProbe)
	if !ok || !at.Addr().Is4() {
		return nil
	}
	return punch.After(at, wire.MaxGuess)
}

// learnMapping asks nodes of several networks where they see us, so that it is known
// what NAT stands before us before anybody has to be called.
func (n *Node) learnMapping(ctx context.Context) {
	t := n.caller()
	strangers := n.strangersIPv4()
	if len(strangers) < reach.MinScattered && n.config.Mode == ModeClient {
		n.hearOfOthers(ctx)
		strangers = n.strangersIPv4()
	}
	var wg sync.WaitGroup
	for _, by := range strangers {
		wg.Go(func() {
			at, ok := n.whereSeen(ctx, by, t.SendProbe)
			if !ok {
				return
			}
			n.self.Vote(by.Addr(), t.LocalAddr().Port(), at, time.Now())
		})
	}
	wg.Wait()
}

// hearOfOthers asks a server that is connected who else there is: who has come for one
// answer only, and got it from the first, knows nobody else. For clients alone: who may
// serve wants strangers to find out whether they reach it, to whom it has sent nothing.
func (n *Node) hearOfOthers(ctx context.Context) {
	for _, l := range n.links.all() {
		if !l.isUp() || !l.isServer() {
			continue
		}
		nodes, _, err := n.findNode(ctx, l.id, n.key)
		for _, c := range nodes.Contacts {
			n.learn(l.addr.Addr(), c, time.Now())
		}
		if err == nil {
			return
		}
	}
}

// strangersIPv4 are servers of different networks, those first that have proved their
// keys there.
func (n *Node) strangersIPv4() (all []netip.AddrPort) {
	for _, sure := range []bool{true, false} {
		for info := range n.peers.All() {
			for _, a := range info.Addrs {
				ap, ok := a.Addr.AddrPort()
				if !ok || !ap.Addr().Is4() || reach.ScopeOf(ap.Addr()) != reach.ScopeGlobal || a.Failures > 0 ||
					a.Success.IsZero() == sure || info.Mode == wire.ModeClient {
					continue
				}
				same := func(other netip.AddrPort) bool { return reach.NetworkOf(other.Addr()) == reach.NetworkOf(ap.Addr()) }
				if len(all) < whoAsked && !slices.ContainsFunc(all, same) {
					all = append(all, ap)
				}
			}
		}
	}
	return all
}

// keepMapping is the task that knows what NAT stands before us.
func (n *Node) keepMapping(ctx context.Context) {
	timer := time.NewTimer(200 * time.Millisecond)
	defer timer.Stop()
	wait := 500 * time.Millisecond
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		if n.mapping() == wire.MappingUnknown {
			n.learnMapping(ctx)
		}
		next := lookAtNAT
		if n.mapping() == wire.MappingUnknown {
			wait = min(2*wait, time.Minute)
			next = wait
		}
		timer.Reset(next)
	}
}
