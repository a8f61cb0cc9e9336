package reach

import (
	"net/netip"
	"slices"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// An Answer says whether strangers can connect to an address.
type Answer uint8

const (
	Unknown Answer = iota // no stranger has tried
	Yes                   // a peer connected to which nothing had been sent
	No                    // enough peers were asked to connect, and none could
)

const (
	// EnoughFailures is how many peers must have failed to connect to an address before
	// it counts as unreachable: one peer may lie, and two may have bad luck.
	EnoughFailures = 3
	// noLife is how long a failure counts while there are fewer than EnoughFailures.
	noLife = time.Hour
	// maxFailures is how many are remembered: each of four networks can name the three others.
	maxFailures = 12
	// enoughKnown is the number of networks that must have connected although the node had
	// sent them packets before, until the router's claim that it forwards the port is believed.
	enoughKnown = 2
)

// A Verdict collects the reports and observations about one address. The zero value holds
// none. It is immutable: methods that change it return another.
type Verdict struct {
	yes      time.Time // when a stranger last connected there
	failures []failure // since then, the earliest first
	count    int       // how many of them count
	no       time.Time // the last of them
	// against is when the first peer failed after the last stranger connected.
	against time.Time
	known   []came // networks that connected since, from a port to which nothing had been sent
}

// came is a network from which a peer connected.
type came struct {
	from netip.Prefix
	at   time.Time
}

// Answer returns the conclusion.
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

// Failures returns how many failures count since a stranger last connected.
func (v Verdict) Failures() int { return v.count }

// failed notes that a peer could not connect, as a peer in the network via reports.
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

// fresh returns how many failures count that are not too old.
func (v Verdict) fresh(now time.Time) int {
	return independent(slices.DeleteFunc(slices.Clone(v.failures), func(n failure) bool { return now.Sub(n.at) > noLife }))
}

// letIn notes that a filter admitted a peer from a port to which nothing had been sent,
// though something had been sent to its IP.
func (v Verdict) letIn(from netip.Prefix, now time.Time) Verdict {
	v.known = slices.DeleteFunc(slices.Clone(v.known), func(c came) bool { return c.from == from || now.Sub(c.at) > noLife })
	if len(v.known) < enoughKnown {
		v.known = append(v.known, came{from, now})
	}
	return v
}

// settled reports whether no recent report contradicts the answer.
func (v Verdict) settled(now time.Time) bool {
	switch v.Answer() {
	case Yes:
		return v.count == 0
	case No:
		return !v.Hopeful(now)
	}
	return false
}

// Hopeful reports whether peers connect which a filter may treat better than strangers.
func (v Verdict) Hopeful(now time.Time) bool {
	return slices.ContainsFunc(v.known, func(c came) bool { return now.Sub(c.at) <= noLife })
}

// vouched reports whether a peer in a network has reported a failure already, while another
// network's report would still add something.
func (v Verdict) vouched(via netip.Prefix) bool {
	return v.count < EnoughFailures && slices.ContainsFunc(v.failures, func(n failure) bool { return n.via == via })
}
