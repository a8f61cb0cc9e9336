package reach

import "time"

// maxDoubt is how long a client stays one of which nothing is known any more: one
// that has moved learns soon what it is there, and is not to come and go meanwhile.
const maxDoubt = 20 * time.Second

// A Sum is what the verdicts on all our addresses say together.
type Sum struct {
	Yes  bool // strangers get in somewhere
	No   bool // somewhere they do not
	Hope bool // somewhere else others at least do
	Open bool // Hope is where no NAT filters: at an address of the machine, or one that a router
	// maps; or a stranger has come in somewhere within the hour

	// Doubt: somewhere one or two could not get in, too few to be sure, and no stranger
	// has come in for an hour. All: those were all that there are to ask, and the machine
	// has no public address of that family itself, as behind a NAT it has none. NATed:
	// others see us where we are not ourselves.
	Doubt, All, NATed bool

	// Everyone: those with Doubt were all that there are to ask, wherever the machine is.
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

// A Decision is whether a node serves others, or is their client. The zero value
// serves. Goroutines must not share it.
type Decision struct {
	client bool
	doubt  time.Time // since when nothing says that a client is one; zero: something does
}

// Decide draws the conclusion from the verdicts: a node is a server until nobody
// reaches it at one of its addresses, and nobody at another. While it is trying one of
// which nothing is known yet it does not become a client. It reports whether it is one.
//
// In a small network there may never be the three strangers who must fail. Most who join
// it sit behind a NAT at home, though, and a server that nobody reaches costs all others
// their time. So less than certainty makes a client there, which serves again as soon as
// a stranger gets in:
//
//   - At once: others see the node beyond a NAT, and nobody of the few to ask could get in.
//     No NAT lets strangers in by itself.
//   - After thorough asking: only peers get in to which the node had sent something, and
//     they see it beyond a NAT. That is what an address-restricted NAT does (RFC 4787 §5),
//     and most do not filter less.
//   - After thorough asking: nobody of all there are to ask could get in at a public
//     address of the machine. Until then it counts as a firewall that may be about to be
//     opened. One peer that lies does this to a node that knows no other.
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

// Progress is how far the asking about all addresses has come.
type Progress struct {
	Trying   bool // the first round about one of those without a verdict has not ended
	Thorough bool // the first rounds about each of them have ended: more of the same tells no more
}
