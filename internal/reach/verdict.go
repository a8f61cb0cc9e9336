package reach

import (
	"net/netip"
	"slices"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// An Answer says whether others get in at an address.
type Answer uint8

const (
	Unknown Answer = iota // nobody has tried whose packets no filter was open for
	Yes                   // somebody came in to whom nothing had been sent
	No                    // enough peers were asked to connect, and none could
)

const (
	// EnoughNoes is how many peers must have failed to connect to an address before
	// it counts as out of reach: what one says may be a lie, and what two say bad
	// luck.
	EnoughFailures = 3
	// noLife is how long a no counts while there are not enough of them.
	noLife = time.Hour
	// maxNoes are remembered: four networks could name each of the three others.
	maxFailures = 12
	// enoughKnown is how many networks must have come in to whom we had sent
	// something, before the router is believed that it lets in others, too.
	enoughKnown = 2
)

// A Verdict is what is known of one address. The zero value is: nothing. It is a
// value: what changes it returns another.
type Verdict struct {
	yes      time.Time // when somebody came in there last to whom nothing had been sent
	failures []failure // who could not since, the earliest first
	count    int       // how many of them count
	no       time.Time // the last of them
	// against is when the first peer could not since somebody came in last.
	against time.Time
	known   []came // who came in since from another port than we had sent something to, by network
}

// A failure is the word of a peer that it could not connect, and the network of whom we
// asked for it.
type failure struct {
	by  wire.PeerID
	via netip.Prefix
	at  time.Time
}

// came is a network that somebody came in from.
type came struct {
	from netip.Prefix
	at   time.Time
}

// Answer is what it comes to.
func (v Verdict) Answer() Answer {
	switch {
	case v.count >= EnoughFailures:
		return No
	case !v.yes.IsZero():
		return Yes
	}
	return Unknown
}

// Since is when the answer was found to be so last; zero if it is Unknown.
func (v Verdict) Since() time.Time {
	switch v.Answer() {
	case No:
		return v.no
	case Yes:
		return v.yes
	}
	return time.Time{}
}

// Failures is how many peers could not connect since somebody came in last, of those that
// count.
func (v Verdict) Failures() int { return v.count }

// failed notes that a peer could not connect, as somebody in the network via says.
func (v Verdict) failed(by wire.PeerID, via netip.Prefix, now time.Time) Verdict {
	v.no = now
	if v.count >= EnoughFailures {
		return v
	}
	if v.count == 0 {
		v.against = now
	}
	same := func(n failure) bool { return n.by == by && n.via == via }
	v.failures = slices.DeleteFunc(slices.Clone(v.failures), func(n failure) bool { return same(n) || now.Sub(n.at) > noLife })
	v.failures = append(v.failures, failure{by, via, now})
	v.failures = v.failures[max(0, len(v.failures)-maxFailures):]
	v.count = independent(v.failures)
	return v
}

// fresh is how many noes count that are not too old.
func (v Verdict) fresh(now time.Time) int {
	return independent(slices.DeleteFunc(slices.Clone(v.failures), func(n failure) bool { return now.Sub(n.at) > noLife }))
}

// letIn notes that a filter let in a peer to whose IP something had been sent, but
// not to the port it came from.
func (v Verdict) letIn(from netip.Prefix, now time.Time) Verdict {
	v.known = slices.DeleteFunc(slices.Clone(v.known), func(c came) bool { return c.from == from || now.Sub(c.at) > noLife })
	if len(v.known) < enoughKnown {
		v.known = append(v.known, came{from, now})
	}
	return v
}

// settled reports whether nothing has come up lately that speaks against it.
func (v Verdict) settled(now time.Time) bool {
	switch v.Answer() {
	case Yes:
		return v.count == 0
	case No:
		return !v.Hopeful(now)
	}
	return false
}

// Hopeful reports whether peers get in of whom it is not known that they are like
// any other.
func (v Verdict) Hopeful(now time.Time) bool {
	return slices.ContainsFunc(v.known, func(c came) bool { return now.Sub(c.at) <= noLife })
}

// vouched reports whether somebody in a network has said no, of so few that another
// one would tell more.
func (v Verdict) vouched(via netip.Prefix) bool {
	return v.count < EnoughFailures && slices.ContainsFunc(v.failures, func(n failure) bool { return n.via == via })
}
