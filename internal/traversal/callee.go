package traversal

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

// Answer answers the call of a peer, call.Peer, that came through a relay. The caller has
// signed all of it but Seen: that is the relay's word and gets no more probes than the
// caller's own candidates.
func (m *Sessions) Answer(r Relay, call wire.Call) (wire.Called, error) {
	now := time.Now()
	if call.Peer == m.id || r.Conn().Virtual() {
		return wire.Called{}, wire.CodeUnreachable
	}
	if !m.callLimit.AllowN(now, 1) {
		return wire.Called{}, wire.CodeBusy
	}
	if m.config.Admit != nil && m.config.Admit(call.Peer) != nil {
		return wire.Called{}, wire.CodeUnreachable
	}
	offer, err := m.parseOffer(call.Offer, call.Peer, [32]byte{})
	if err == nil && !m.replays.add(offer.Key, now) {
		err = errReplayed
	}
	if err != nil {
		m.config.Logger.Debug("a call is refused", "peer", call.Peer, "relay", r.ID(), "err", err)
		return wire.Called{}, wire.CodeUnreachable
	}
	// Only now is it certain that the caller itself, not the relay, made the call.
	if !m.hasRoomFor(call.Peer, r.ID()) || !m.callers.allow(call.Peer, now) {
		return wire.Called{}, wire.CodeBusy
	}
	m.relays.SetRoute(call.Peer, r)
	m.relays.ConfirmRoute(call.Peer, r)
	answer, err := m.handleCall(r, call, offer, now)
	m.host.CallEvent(CallEvent{Peer: call.Peer, Relay: r.ID(), Inbound: true, What: "call", Err: err})
	return answer, err
}

// handleCall begins the checklist of a verified call and returns the answer.
func (m *Sessions) handleCall(r Relay, call wire.Call, offer wire.CandidateOffer, now time.Time) (wire.Called, error) {
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return wire.Called{}, err
	}
	keys, err := punch.NewKeys(key, offer.Key, false)
	if err != nil {
		return wire.Called{}, wire.CodeUnreachable
	}
	at := r.Conn().RemoteAddr()
	from, begin := m.answerSocket(r, call, offer, now)
	config := punch.Config{Caller: offer.Key, Rand: randomUint64}
	var ports []*quic.Port
	if from.port != nil {
		ports, config.Via = append(ports, from.port), 1
	}
	now = time.Now()
	checks, err := punch.NewCallee(config, keys, now, begin)
	if err != nil {
		from.close()
		return wire.Called{}, err
	}
	c := &checklist{checks: checks, inbound: true, newSocket: from.port != nil, relay: r.ID(), began: now, mapping: from.mapping, ports: ports}
	err = m.do(call.Peer, r.ID(), func(s *session, now time.Time) {
		s.addChecklist(c)
		c.checks.AddCredit(len(call.Offer) + call.Padding)
		s.addCandidates(now, c, offer, call.Seen, at.Addr())
	})
	if err != nil {
		c.close()
		return wire.Called{}, wire.CodeBusy
	}
	guesses := from.addrs
	if from.port != nil && from.mapping == wire.MappingSequential {
		ctx, cancel := context.WithTimeout(m.group.Context(), time.Second)
		guesses = m.predictPorts(ctx, at)
		cancel()
	}
	public := [32]byte(key.PublicKey().Bytes())
	answer := m.newOffer(call.Peer, public, offer.Key, at.Addr(), guesses)
	answer.Mapping = from.mapping
	m.sendCredit(call.Peer, answer)
	return wire.Called{Offer: answer.Sign(m.config.Key), Padding: wire.MaxPadding}, nil
}

// answerSocket opens the socket for the probes of an answer and says when they may begin.
func (m *Sessions) answerSocket(r Relay, call wire.Call, offer wire.CandidateOffer, now time.Time) (from probeSocket, begin time.Time) {
	from.mapping = m.mapping()
	seen, _ := call.Seen.AddrPort()
	switch from.mapping {
	case wire.MappingSequential: // the answer waits for the prediction of our ports
		if p, err := m.host.Socket().OpenPort(); err == nil {
			from.port = p
		}
		return from, now.Add(2 * rttOf(r))
	case wire.MappingRandom: // the caller cannot know our ports before it has the answer
		return from, now.Add(rttOf(r))
	case wire.MappingUnknown, wire.MappingIndependent:
		retry := isIndependent(offer.Mapping) && m.hasOnlyRelayedPath(call.Peer)
		if !retry && !isSearchable(offer, seen) {
			break
		}
		ctx, cancel := context.WithTimeout(m.group.Context(), time.Second)
		defer cancel()
		if s := m.newProbeSocket(ctx, r.Conn().RemoteAddr(), from.mapping); s.port != nil {
			from = s
		}
		begin = time.Now()
		if retry {
			// Delay probing by one RTT so that both sides' packets cross in flight. An
			// inbound packet that arrives first makes some NATs pick another port.
			begin = begin.Add(rttOf(r))
		}
		return from, begin
	}
	return from, now
}

// hasOnlyRelayedPath reports whether an earlier call with a peer has found no direct path.
// If both NATs map endpoint-independently, something has changed the mapping of our socket,
// and a new socket is needed.
func (m *Sessions) hasOnlyRelayedPath(id wire.PeerID) bool {
	s := m.lookup(id)
	if s == nil || len(s.lastRemoteAddrs()) == 0 {
		return false
	}
	at, ok := s.socket.PathTo(s.key())
	return ok && at.Kind == quic.Relayed
}

// maxCallers bounds the callers whose rate is remembered. Further callers wait until some
// are forgotten.
const maxCallers = 1024

// callerLimits lets each peer call once a second, with bursts of 6. Goroutines share it.
type callerLimits struct {
	mu     sync.Mutex
	byPeer map[wire.PeerID]*rate.Limiter
}

func (c *callerLimits) allow(id wire.PeerID, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.byPeer[id]
	if l == nil {
		if len(c.byPeer) >= maxCallers {
			maps.DeleteFunc(c.byPeer, func(_ wire.PeerID, l *rate.Limiter) bool { return l.TokensAt(now) >= 6 })
		}
		if len(c.byPeer) >= maxCallers {
			return false
		}
		l = rate.NewLimiter(1, 6)
		c.byPeer[id] = l
	}
	return l.AllowN(now, 1)
}
