package traversal

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/kadquic/kadquic/internal/punch"
	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/wire"
)

// MaxOfferAge bounds how far the time at which an offer was signed may lie in the past or,
// by a wrong clock, in the future.
const MaxOfferAge = 2 * time.Minute

var (
	errWrongPeer  = errors.New("candidate offer from or to another peer")
	errStaleOffer = errors.New("candidate offer of another time")
	errReplayed   = errors.New("candidate offer received before")
)

// newOffer makes an offer of our candidates to a peer. The guesses are ports that our NAT
// is predicted to assign.
func (m *Sessions) newOffer(to wire.PeerID, key, reply [32]byte, relay netip.Addr, guesses []netip.AddrPort) wire.CandidateOffer {
	return wire.CandidateOffer{
		From: m.id, To: to, Key: key, Reply: reply, At: time.Now(),
		Mapping: m.mapping(), Birthday: true,
		Addrs: offerAddrs(guesses, m.localCandidates(relay)),
	}
}

// offerAddrs returns the addresses of an offer: the guesses, and as many candidates as
// there is room for, at least one of each scope and family.
func offerAddrs(guesses, candidates []netip.AddrPort) (addrs []wire.Addr) {
	guesses = guesses[:min(len(guesses), wire.MaxGuess)]
	candidates = slices.DeleteFunc(slices.Clone(candidates), func(a netip.AddrPort) bool { return slices.Contains(guesses, a) })
	candidates = reach.Cover(candidates, wire.MaxCandidates-len(guesses), netip.AddrPort.Addr)
	for _, a := range slices.Concat(guesses, candidates) {
		if addr := wire.AddrFrom(a); addr != "" && len(addrs) < wire.MaxCandidates && !slices.Contains(addrs, addr) {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}

// mapping returns how our NAT maps IPv4 ports. For IPv6, NATs do not translate ports.
func (m *Sessions) mapping() wire.Mapping {
	mapping, _ := m.config.Self.Mapping(true, time.Now())
	return mapping
}

// localCandidates returns the addresses of the socket for calls at which a peer may reach
// it, the widest scope first.
func (m *Sessions) localCandidates(relay netip.Addr) []netip.AddrPort {
	local := m.host.Socket().LocalAddr()
	var all []netip.AddrPort
	for _, p := range m.config.Self.Candidates(time.Now()) {
		ip := p.At.Addr()
		switch {
		case p.Own && p.At.Port() != local.Port(), !local.Addr().Is6() && ip.Is6():
		case reach.ScopeOf(ip) == reach.ScopeLoopback && !relay.IsLoopback():
		case p.Votes == 0 && !p.Own && !p.Mapped:
		default:
			all = append(all, p.At)
		}
	}
	slices.SortStableFunc(all, compareScope)
	return all
}

// compareScope orders addresses by scope, the widest first: those need most time.
func compareScope(a, b netip.AddrPort) int {
	return cmp.Compare(reach.ScopeOf(b.Addr()), reach.ScopeOf(a.Addr()))
}

// mayProbe reports whether a peer that called through a relay may have us send probes to
// an address. Private addresses qualify only if we have one ourselves.
func (m *Sessions) mayProbe(a netip.AddrPort, relay netip.Addr) bool {
	if !punch.IsUsable(a) {
		return false
	}
	switch reach.ScopeOf(a.Addr()) {
	case reach.ScopeGlobal:
		return true
	case reach.ScopePrivate:
		return slices.ContainsFunc(m.config.Self.Candidates(time.Now()), func(p reach.Candidate) bool {
			return p.Own && reach.ScopeOf(p.At.Addr()) == reach.ScopePrivate && p.At.Addr().Is4() == a.Addr().Is4()
		})
	case reach.ScopeLoopback:
		return relay.IsLoopback()
	}
	return false
}

// remoteCandidates returns the addresses of an offer that may be probed; guesses are
// predicted ports. It adds the address at which the relay sees the peer.
func (m *Sessions) remoteCandidates(offer wire.CandidateOffer, seen wire.Addr, relay netip.Addr) (guesses, addrs []netip.AddrPort) {
	for i, a := range offer.Addrs {
		ap, ok := a.AddrPort()
		switch {
		case !ok || !m.mayProbe(ap, relay):
		case offer.Mapping == wire.MappingSequential && i < wire.MaxGuess && reach.ScopeOf(ap.Addr()) == reach.ScopeGlobal && ap.Addr().Is4():
			guesses = append(guesses, ap)
		default:
			addrs = append(addrs, ap)
		}
	}
	if ap, ok := seen.AddrPort(); ok && m.mayProbe(ap, relay) && !slices.Contains(addrs, ap) && !slices.Contains(guesses, ap) {
		addrs = append(addrs, ap)
	}
	return guesses, addrs
}

// parseOffer verifies that a peer signed an offer to us just now. Reply is the key of the
// offer that it answers, or zero.
func (m *Sessions) parseOffer(b []byte, peer wire.PeerID, reply [32]byte) (wire.CandidateOffer, error) {
	offer, err := wire.ParseCandidateOffer(b)
	if err != nil {
		return offer, err
	}
	if offer.From != peer || offer.To != m.id || offer.Reply != reply {
		return offer, errWrongPeer
	}
	if age := m.host.NetworkTime().Sub(offer.At); age.Abs() > MaxOfferAge {
		return offer, fmt.Errorf("%w: %v old", errStaleOffer, age.Round(time.Second))
	}
	return offer, nil
}
