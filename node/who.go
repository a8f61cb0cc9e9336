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

	// whoAsked is how many peers are asked what NAT stands before us, of which
	// reach.MinScattered must answer; lookAtNAT how soon again, when they have.
	whoAsked  = 5
	lookAtNAT = 4 * time.Minute
)

// whereSeen asks a node from where the packets of one of our sockets come to it. That
// costs a round trip and 27 bytes each way; anybody between could lie.
func (n *Node) whereSeen(ctx context.Context, by netip.AddrPort, send func(netip.AddrPort, []byte) error) (netip.AddrPort, bool) {
	gs := n.agents
	nonce, answer := randomUint64(), make(chan netip.AddrPort, 1)
	gs.mu.Lock()
	full := len(gs.whos) >= maxWhos
	if !full {
		gs.whos[nonce] = answer
	}
	gs.mu.Unlock()
	if full {
		return netip.AddrPort{}, false
	}
	defer func() {
		gs.mu.Lock()
		defer gs.mu.Unlock()
		delete(gs.whos, nonce)
	}()
	n.self.SendsTo(by, time.Now())
	again := time.NewTicker(whoAgain)
	defer again.Stop()
	for range whoTries {
		if send(by, punch.AppendBindingRequest(nil, nonce)) != nil {
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

// learnMapping asks nodes with different IPs where they see us, so that it is known
// what NAT stands before us before anybody has to be called.
func (n *Node) learnMapping(ctx context.Context) {
	t := n.callSocket()
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
		if !l.IsUp() || !l.IsServer() {
			continue
		}
		_, nodes, err := n.lookups.FindNode(ctx, l.id, n.key)
		for _, c := range nodes.Contacts {
			n.learn(l.addr.Addr(), c, time.Now())
		}
		if err == nil {
			return
		}
	}
}

// strangersIPv4 returns servers with different IPs: those first that are in different
// networks and have proved their keys there, those last that share a network with
// another. To a NAT each IP is another destination, whatever its network.
func (n *Node) strangersIPv4() (all []netip.AddrPort) {
	for _, pass := range []struct{ sure, sameNetwork bool }{{true, false}, {false, false}, {true, true}, {false, true}} {
		for info := range n.peers.All() {
			for _, a := range info.Addrs {
				ap, ok := a.Addr.AddrPort()
				if !ok || !ap.Addr().Is4() || reach.ScopeOf(ap.Addr()) != reach.ScopeGlobal || a.Failures > 0 ||
					a.Success.IsZero() == pass.sure || info.Mode == wire.ModeClient {
					continue
				}
				same := func(other netip.AddrPort) bool {
					return other.Addr() == ap.Addr() || !pass.sameNetwork && reach.NetworkOf(other.Addr()) == reach.NetworkOf(ap.Addr())
				}
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
