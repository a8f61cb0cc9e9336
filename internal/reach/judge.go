package reach

import (
	"net/netip"
	"slices"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// A Change tells that the answer for an address is another than it was.
type Change struct {
	At          netip.AddrPort // or SeenBy
	Answer, Was Answer
}

// An Entry is a connection that somebody has opened to us.
type Entry struct {
	From netip.Addr     // whose it is
	At   netip.AddrPort // at which it reached us, as it says
	// Fresh: nothing had been sent to the port that it came from. Unbidden: nor to
	// any other of its IP, so that no filter can have been open to it.
	Fresh, Unsolicited bool
}

// OnInbound takes in that a peer has connected to us. If no filter can have been
// open to it, the address at which it says it reached us can be reached. If one
// can have been, but not for the port it came from, that is a reason to hope; and
// enough to believe the router that says it lets everybody in there. It reports
// whether that has been looked at.
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
	// By its own word alone, only where nobody else says anything. Then its word would do
	// for a place of ours, too; but one that we have sent to proves little, so it may lie.
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

// DialFailed takes in that the peer by could not connect to us at an address, or, where
// every peer sees us at another one, at that where the asker sees us: as somebody in
// the network via says, who was asked then. It reports whether that told something.
func (s *Self) DialFailed(at netip.AddrPort, by wire.PeerID, via netip.Prefix, asked, now time.Time) (changes []Change, counts bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.verdicts[at]
	if before.yes.After(asked) || asked.Before(s.moved) { // somebody has come in meanwhile; or we are elsewhere
		return nil, false
	}
	if s.isMappedLocked(at) {
		before.known = nil // the router is not believed for what they saw before
	}
	v := before.failed(by, via, now)
	changes = s.judgeLocked(at, v)
	if seen := SeenBy(at.Addr().Is4()); at != seen && !slices.Contains(s.ownLocked(now), at) && !s.isMappedLocked(at) {
		changes = append(changes, s.judgeLocked(seen, s.verdicts[seen].failed(by, via, now))...)
	}
	return changes, v.count > before.count || v.Answer() == No
}

// SeenBy stands for the address at which whoever is asked sees us, which a NAT
// may make another one for each. Its port is 0.
func SeenBy(is4 bool) netip.AddrPort {
	if is4 {
		return netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.AddrPortFrom(netip.IPv6Unspecified(), 0)
}

// judgeLocked sets the verdict on an address, and returns what is to be told of it.
func (s *Self) judgeLocked(at netip.AddrPort, v Verdict) []Change {
	was := s.verdicts[at].Answer()
	s.verdicts[at] = v
	if v.Answer() == was {
		return nil
	}
	return []Change{{at, v.Answer(), was}}
}

// Verdict returns the one on an address.
func (s *Self) Verdict(at netip.AddrPort) Verdict {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.verdicts[at]
}

// Answer returns that of the verdict on an address.
func (s *Self) Answer(at netip.AddrPort) Answer { return s.Verdict(at).Answer() }
