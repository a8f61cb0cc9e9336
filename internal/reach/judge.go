package reach

import (
	"net/netip"
	"slices"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// A Change says that the answer for an address has changed.
type Change struct {
	At          netip.AddrPort // or SeenBy
	Answer, Was Answer
}

// An Entry is an inbound connection.
type Entry struct {
	From netip.Addr     // of the peer
	At   netip.AddrPort // at which the peer says that it reached the node
	// Fresh: nothing had been sent to the port that it came from. Unsolicited: nor to any
	// other port of its IP, so that no filter can have been open to it.
	Fresh, Unsolicited bool
}

// OnInbound notes that a peer has connected. If no filter can have been open to it, the
// address that it reached is reachable. If a filter may have been open to its IP, but not to
// its port, that is a hint, and enough to believe a router that claims to forward the
// address. ok reports whether the connection proved anything.
func (s *Self) OnInbound(e Entry, now time.Time) (changes []Change, ok bool) {
	from := NetworkOf(e.From)
	if !e.Fresh || ScopeOf(e.From) != ScopeGlobal || ScopeOf(e.At.Addr()) != ScopeGlobal ||
		e.From.Is4() != e.At.Addr().Is4() || // where it cannot have come
		from == NetworkOf(e.At.Addr()) { // from within, by the way out
		return nil, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.Unsolicited {
		s.came = now
	}
	own := slices.Contains(s.ownLocked(now), e.At)
	mapped := s.isMappedLocked(e.At)
	// A peer's own word suffices only where no other peer reports anything. It would then
	// suffice for a candidate, too; but a peer that we have sent to proves little, and may lie.
	if !own && !mapped && s.votes.besides(e.At, from) < MinVotes-1 && (e.Unsolicited || s.votes.anyBesides(from)) {
		return nil, false
	}
	v := s.verdicts[e.At].letIn(from, now)
	if e.Unsolicited || mapped && len(v.known) >= enoughKnown {
		v = Verdict{yes: now}
	}
	changes = s.judgeLocked(e.At, v)
	if v.Answer() == Yes && !own && !mapped {
		delete(s.verdicts, SeenBy(e.At.Addr().Is4()))
	}
	return changes, true
}

// DialFailed notes that the peer by could not connect to an address, as a peer in the network
// via reports, which was asked at the time asked. Where each peer sees the node at another
// address, at is the one that the asked peer sees. counts reports whether the failure added
// anything.
func (s *Self) DialFailed(at netip.AddrPort, by wire.PeerID, via netip.Prefix, asked, now time.Time) (changes []Change, counts bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.verdicts[at]
	if before.yes.After(asked) || asked.Before(s.moved) { // a stranger has connected meanwhile, or the machine has moved
		return nil, false
	}
	if s.isMappedLocked(at) {
		before.known = nil // earlier connections no longer support the router
	}
	v := before.failed(by, via, now)
	changes = s.judgeLocked(at, v)
	if seen := SeenBy(at.Addr().Is4()); at != seen && !slices.Contains(s.ownLocked(now), at) && !s.isMappedLocked(at) {
		changes = append(changes, s.judgeLocked(seen, s.verdicts[seen].failed(by, via, now))...)
	}
	return changes, v.count > before.count || v.Answer() == No
}

// SeenBy stands for the address at which the asked peer sees the node, which behind some NATs
// differs for each peer. Its port is 0.
func SeenBy(is4 bool) netip.AddrPort {
	if is4 {
		return netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.AddrPortFrom(netip.IPv6Unspecified(), 0)
}

// judgeLocked sets the verdict on an address, and returns the changes to report.
func (s *Self) judgeLocked(at netip.AddrPort, v Verdict) []Change {
	was := s.verdicts[at].Answer()
	s.verdicts[at] = v
	if v.Answer() == was {
		return nil
	}
	return []Change{{at, v.Answer(), was}}
}

// Verdict returns the verdict on an address.
func (s *Self) Verdict(at netip.AddrPort) Verdict {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.verdicts[at]
}

// Answer returns the answer of the verdict on an address.
func (s *Self) Answer(at netip.AddrPort) Answer { return s.Verdict(at).Answer() }
