package node

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"maps"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/kadquic/kadquic/internal/punch"
	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

// called answers a call that a peer, c.Peer, makes to us by a relay, the peer of l.
// What of it is the relay's word and not signed by the caller, is where it sees the
// caller: that gets no more than the caller's own addresses.
func (n *Node) called(l *link, c wire.Call) (wire.Called, error) {
	now := time.Now()
	gs := n.agents
	if c.Peer == n.id || l.conn.Virtual() {
		return wire.Called{}, wire.CodeUnreachable
	}
	if !gs.calls.AllowN(now, 1) {
		return wire.Called{}, wire.CodeBusy
	}
	if n.config.Admit != nil && n.config.Admit(c.Peer) != nil {
		return wire.Called{}, wire.CodeUnreachable
	}
	intro, err := n.checkIntroduction(c.Offer, c.Peer, [32]byte{})
	if err == nil && !gs.replays.fresh(intro.Key, now) {
		err = errReplayed
	}
	if err != nil {
		n.config.Logger.Debug("a call that is not answered", "peer", c.Peer, "relay", l.id, "err", err)
		return wire.Called{}, wire.CodeUnreachable
	}
	if !gs.hasRoomFor(c.Peer, l.id) || !gs.callers.allow(c.Peer, now) { // now that it is the caller, not the relay, who says so
		return wire.Called{}, wire.CodeBusy
	}
	n.useRelay(c.Peer, l)
	n.provenRelay(c.Peer, l)
	answer, err := n.answerCall(l, c, intro, now)
	n.callEvent(CallEvent{Peer: c.Peer, Relay: l.id, Inbound: true, What: "call", Err: err})
	return answer, err
}

func (n *Node) answerCall(l *link, c wire.Call, intro wire.CandidateOffer, now time.Time) (wire.Called, error) {
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return wire.Called{}, err
	}
	keys, err := punch.NewKeys(key, intro.Key, false)
	if err != nil {
		return wire.Called{}, wire.CodeUnreachable
	}
	at := l.conn.RemoteAddr()
	from, begin := n.answerFrom(l, c, intro, now)
	config := punch.Config{Caller: intro.Key, Rand: randomUint64}
	var ports []*quic.Port
	if from.port != nil {
		ports, config.Via = append(ports, from.port), 1
	}
	now = time.Now()
	s, err := punch.NewCallee(config, keys, now, begin)
	if err != nil {
		from.close()
		return wire.Called{}, err
	}
	a := &attempt{s: s, came: true, fresh: from.port != nil, relay: l.id, began: now, own: from.mapping, ports: ports}
	err = n.tellAgent(c.Peer, l.id, func(g *agent, now time.Time) {
		g.add(a)
		a.s.AddCredit(len(c.Offer) + c.Padding)
		g.named(now, a, intro, c.Seen, at.Addr())
	})
	if err != nil {
		a.close()
		return wire.Called{}, wire.CodeBusy
	}
	guesses := from.at
	if from.port != nil && from.mapping == wire.MappingSequential {
		ctx, cancel := context.WithTimeout(n.ctx, time.Second)
		guesses = n.nextPorts(ctx, at)
		cancel()
	}
	public := [32]byte(key.PublicKey().Bytes())
	answer := n.introduce(c.Peer, public, intro.Key, at.Addr(), guesses)
	answer.Mapping = from.mapping
	n.payFor(c.Peer, answer)
	return wire.Called{Offer: answer.Sign(n.config.Key), Padding: wire.MaxPadding}, nil
}

// answerFrom opens the socket by which a call is answered, and says when its probes may
// begin.
func (n *Node) answerFrom(l *link, c wire.Call, intro wire.CandidateOffer, now time.Time) (from socket, begin time.Time) {
	from.mapping = n.mapping()
	seen, _ := c.Seen.AddrPort()
	switch from.mapping {
	case wire.MappingSequential: // the answer has to wait
		if p, err := n.callSocket().OpenPort(); err == nil {
			from.port = p
		}
		return from, now.Add(2 * n.rttTo(l))
	case wire.MappingRandom: // the caller cannot know our ports before it has the answer
		return from, now.Add(n.rttTo(l))
	case wire.MappingUnknown, wire.MappingIndependent:
		vain := steady(intro.Mapping) && n.metInVain(c.Peer)
		if !vain && !searchable(intro, seen) {
			break
		}
		ctx, cancel := context.WithTimeout(n.ctx, time.Second)
		defer cancel()
		if s := n.freshly(ctx, l.conn.RemoteAddr(), from.mapping); s.port != nil {
			from = s
		}
		begin = time.Now()
		if vain { // our packets and the caller's are to cross: either side's NAT may be spoiled by what comes first
			begin = begin.Add(n.rttTo(l))
		}
		return from, begin
	}
	return from, now
}

// metInVain reports whether a peer has called or been called before, and packets to it
// are relayed all the same: if both have one port for everybody, something has spoiled
// that of our socket.
func (n *Node) metInVain(id wire.PeerID) bool {
	g := n.agents.agentWith(id)
	if g == nil || len(g.toldAt()) == 0 {
		return false
	}
	at, ok := g.t.PathTo(publicKey(id))
	return ok && at.Kind == quic.Relayed
}

// callLimits is how often each peer may call: 1 a second, 6 at once. Goroutines share
// it.
type callLimits struct {
	mu sync.Mutex
	by map[wire.PeerID]*rate.Limiter
}

const maxCallers = 1024 // remembered; further ones wait until some are forgotten

func (c *callLimits) allow(id wire.PeerID, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.by[id]
	if l == nil {
		if len(c.by) >= maxCallers {
			maps.DeleteFunc(c.by, func(_ wire.PeerID, l *rate.Limiter) bool { return l.TokensAt(now) >= 6 })
		}
		if len(c.by) >= maxCallers {
			return false
		}
		l = rate.NewLimiter(1, 6)
		c.by[id] = l
	}
	return l.AllowN(now, 1)
}
