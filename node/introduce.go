package node

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

// maxCallAge is how long ago an introduction may have been signed, or how far in the
// future that may seem to be.
const maxCallAge = 2 * time.Minute

var (
	errNotForUs  = errors.New("introduction of or for another")
	errStaleCall = errors.New("introduction of another time")
	errReplayed  = errors.New("introduction seen before")
)

// introduce says where we are, to a peer that is to meet us. The guesses are of ports
// that a NAT will give.
func (n *Node) introduce(to wire.PeerID, key, reply [32]byte, relay netip.Addr, guesses []netip.AddrPort) wire.CandidateOffer {
	i := wire.CandidateOffer{
		From: n.id, To: to, Key: key, Reply: reply, At: time.Now(),
		Mapping: n.mapping(), Birthday: true,
	}
	i.Addrs = introAddrs(guesses, n.candidates(relay))
	return i
}

// introAddrs returns the addresses of an introduction: the guesses, and as many of the
// candidates as there is room for, of each scope and family at least one.
func introAddrs(guesses, candidates []netip.AddrPort) (addrs []wire.Addr) {
	guesses = guesses[:min(len(guesses), wire.MaxGuess)]
	candidates = slices.DeleteFunc(slices.Clone(candidates), func(a netip.AddrPort) bool { return slices.Contains(guesses, a) })
	candidates = reach.Cover(candidates, wire.MaxOfferAddrs-len(guesses), netip.AddrPort.Addr)
	for _, a := range slices.Concat(guesses, candidates) {
		if addr := wire.AddrFrom(a); addr != "" && len(addrs) < wire.MaxOfferAddrs && !slices.Contains(addrs, addr) {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}

// mapping says what stands before us for IPv4; of IPv6 nobody translates ports.
func (n *Node) mapping() wire.Mapping {
	m, _ := n.self.Mapping(true, time.Now())
	return m
}

// candidates are the addresses at which a peer that was told of them by a relay may
// find us, the most likely first: those of the socket that connections by relay use.
func (n *Node) candidates(relay netip.Addr) []netip.AddrPort {
	local := n.callSocket().LocalAddr()
	var all []netip.AddrPort
	for _, p := range n.places() {
		ip := p.At.Addr()
		switch {
		case p.Own && p.At.Port() != local.Port(), !local.Addr().Is6() && ip.Is6():
		case reach.ScopeOf(ip) == reach.ScopeLoopback && !relay.IsLoopback():
		case p.Votes == 0 && !p.Own && !p.Mapped:
		default:
			all = append(all, p.At)
		}
	}
	slices.SortStableFunc(all, farFirst)
	return all
}

// farFirst orders by scope, the widest first: that is what needs time, and ports.
func farFirst(a, b netip.AddrPort) int {
	return cmp.Compare(reach.ScopeOf(b.Addr()), reach.ScopeOf(a.Addr()))
}

// mayProbe reports whether a peer that we know through a relay may have us send probes
// to an address. Those of our own house are for those who may be in it.
func (n *Node) mayProbe(a netip.AddrPort, relay netip.Addr) bool {
	if !punch.IsUsable(a) || a == elsewhere {
		return false
	}
	switch reach.ScopeOf(a.Addr()) {
	case reach.ScopeGlobal:
		return true
	case reach.ScopePrivate:
		return slices.ContainsFunc(n.places(), func(p reach.Place) bool {
			return p.Own && reach.ScopeOf(p.At.Addr()) == reach.ScopePrivate && p.At.Addr().Is4() == a.Addr().Is4()
		})
	case reach.ScopeLoopback:
		return relay.IsLoopback()
	}
	return false
}

// probed returns the addresses of an introduction that may be probed, and which are
// guesses.
func (n *Node) probed(i wire.CandidateOffer, seen wire.Addr, relay netip.Addr) (guesses, addrs []netip.AddrPort) {
	for k, a := range i.Addrs {
		ap, ok := a.AddrPort()
		switch {
		case !ok || !n.mayProbe(ap, relay):
		case i.Mapping == wire.MappingSequential && k < wire.MaxGuess && reach.ScopeOf(ap.Addr()) == reach.ScopeGlobal && ap.Addr().Is4():
			guesses = append(guesses, ap)
		default:
			addrs = append(addrs, ap)
		}
	}
	if ap, ok := seen.AddrPort(); ok && n.mayProbe(ap, relay) && !slices.Contains(addrs, ap) && !slices.Contains(guesses, ap) {
		addrs = append(addrs, ap)
	}
	return guesses, addrs
}

// checkIntroduction verifies that peer has introduced itself to us, just now.
func (n *Node) checkIntroduction(b []byte, peer wire.PeerID, reply [32]byte) (wire.CandidateOffer, error) {
	i, err := wire.ParseCandidateOffer(b)
	if err != nil {
		return i, err
	}
	if i.From != peer || i.To != n.id || i.Reply != reply {
		return i, errNotForUs
	}
	now := time.Now()
	by, _ := n.skew.median(now) // 0 if not known
	if age := now.Add(by).Sub(i.At); age.Abs() > maxCallAge {
		return i, fmt.Errorf("%w: %v old", errStaleCall, age.Round(time.Second))
	}
	return i, nil
}
