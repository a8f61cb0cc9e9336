package reach

import "time"

// maxDoubt is how long a client stays a client without any verdict. A node that has moved
// gets a new verdict soon, and should not change its mode twice meanwhile.
const maxDoubt = 20 * time.Second

// A Sum combines the verdicts on all addresses of the node.
type Sum struct {
	Yes  bool // strangers reach some address
	No   bool // strangers do not reach some address
	Hope bool // peers that are not strangers reach another one
	Open bool // Hope concerns an address of the machine, or one that a router maps, where no
	// NAT filters; or a stranger has connected to some address within the hour

	// Doubt: one or two peers could not reach some address, which is too few to be sure, and
	// no stranger has connected for an hour. All: no other peers can be asked, and the machine
	// has no public address of that family, as behind a NAT. NATed: peers see the node at an
	// address that the machine does not have.
	Doubt, All, NATed bool

	// Everyone: as All, whatever addresses the machine has.
	Everyone bool
}

// Sum adds up the verdicts.
func (s *Self) Sum(now time.Time) (sum Sum) {
	s.mu.Lock()
	defer s.mu.Unlock()
	quiet := s.came.IsZero() || now.Sub(s.came) > noLife
	public := make(map[bool]bool) // the machine itself, by IPv4
	for _, at := range s.ownLocked(now) {
		if ScopeOf(at.Addr()) == ScopeGlobal {
			public[at.Addr().Is4()] = true
		}
	}
	add := func(p Candidate) {
		at := p.At
		v := s.verdicts[at]
		switch v.Answer() {
		case Yes:
			sum.Yes = true
		case No:
			sum.No = true
		default:
			if v.Hopeful(now) {
				sum.Hope = true
				sum.Open = sum.Open || p.Own || p.Mapped || !quiet
			}
			if noes := v.fresh(now); noes > 0 && quiet {
				sum.Doubt = true
				everyone := noes >= min(s.askable, EnoughFailures)
				sum.Everyone = sum.Everyone || everyone
				sum.All = sum.All || everyone && !public[at.Addr().Is4()]
			}
		}
	}
	for _, p := range s.candidatesLocked(now) {
		if p.scope() == ScopeGlobal {
			add(p)
		}
	}
	add(Candidate{At: SeenBy(true)})
	add(Candidate{At: SeenBy(false)})
	sum.NATed = s.looksNATedLocked(now)
	return sum
}

// A Decision is whether a node is a server or a client. The zero value is a server.
// Goroutines must not share it.
type Decision struct {
	client bool
	doubt  time.Time // since when no verdict supports that it is a client; zero: one does
}

// Decide draws the conclusion from the verdicts and reports whether the node is a client. A node
// is a server until strangers fail to reach one of its addresses and reach no other. While
// an address without a verdict is being tried, the node does not become a client.
//
// A small network may never have the three strangers that must fail. Most nodes that join one are
// behind a NAT at home, though, and an unreachable server costs all others time. So in
// these cases less than certainty makes the node a client, until a stranger connects:
//
//   - At once: peers see the node behind a NAT, and none of the few that can be asked could
//     connect. No NAT admits strangers by itself.
//   - After thorough asking: only peers connect to which the node had sent packets, and
//     they see it behind a NAT. An address-restricted NAT does that (RFC 4787 §5), and
//     most NATs filter at least as much.
//   - After thorough asking: no peer that can be asked could connect to a public address of
//     the machine. Before that, a firewall may be about to open. A single peer that
//     lies can do this to a node that knows no other.
func (d *Decision) Decide(sum Sum, p Progress, now time.Time) (client bool) {
	few := sum.Doubt && sum.NATed && (sum.All || d.client && !sum.Hope)
	alone := sum.Doubt && sum.Everyone && !sum.Hope && (p.Thorough || d.client)
	knownOnly := sum.NATed && sum.Hope && !sum.Open && (p.Thorough || d.client)
	switch {
	case sum.Yes:
		d.client, d.doubt = false, time.Time{}
	case sum.No || few || alone || knownOnly:
		d.client, d.doubt = d.client || knownOnly || !sum.Hope && !p.Trying, time.Time{}
	case !d.client:
	case d.doubt.IsZero():
		d.doubt = now
	case now.Sub(d.doubt) >= maxDoubt:
		d.client, d.doubt = false, time.Time{}
	}
	return d.client
}

// Progress says how far the dial-backs of all addresses have come.
type Progress struct {
	Trying   bool // the first round of an address without a verdict has not ended
	Thorough bool // the first rounds of each such address have ended: further ones would add nothing
}
