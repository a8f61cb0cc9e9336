package reach

import (
	"net/netip"
	"time"
)

// maxDoubt is how long a client stays one of which nothing is known any more: one
// that has moved learns soon what it is there, and is not to come and go meanwhile.
const maxDoubt = 20 * time.Second

// A Sum is what the verdicts on all our addresses say together.
type Sum struct {
	Yes  bool // strangers get in somewhere
	No   bool // somewhere they do not
	Hope bool // somewhere else others at least do

	// Doubt: somewhere one or two could not get in, too few to be sure, and no stranger
	// has come in for an hour. All: those were all that there are to ask, and the machine
	// has no public address of that family itself, as behind a NAT it has none. NATed:
	// others see us where we are not ourselves.
	Doubt, All, NATed bool
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
	add := func(at netip.AddrPort) {
		v := s.verdicts[at]
		switch v.Answer() {
		case Yes:
			sum.Yes = true
		case No:
			sum.No = true
		default:
			sum.Hope = sum.Hope || v.Hopeful(now)
			if noes := v.fresh(now); noes > 0 && quiet {
				sum.Doubt = true
				sum.All = sum.All || noes >= min(s.askable, EnoughNoes) && !public[at.Addr().Is4()]
			}
		}
	}
	for _, p := range s.placesLocked(now) {
		if p.scope() == ScopeGlobal {
			add(p.At)
		}
	}
	add(SeenBy(true))
	add(SeenBy(false))
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
// In a network of one or two public nodes there never are the three who must fail. Most
// who join it sit behind a NAT at home, though, and a server that nobody reaches costs
// all others their time. So there it is enough that nobody of those few could get in,
// if they see the node beyond a NAT: a firewall before a public address may be about to
// be opened, but no NAT lets strangers in by itself. Such a client stays one for as long
// as one of them says so and none gets in.
func (d *Decision) Decide(sum Sum, trying bool, now time.Time) (client bool) {
	few := sum.Doubt && sum.NATed && (sum.All || d.client && !sum.Hope)
	switch {
	case sum.Yes:
		d.client, d.doubt = false, time.Time{}
	case sum.No || few:
		d.client, d.doubt = d.client || !sum.Hope && !trying, time.Time{}
	case !d.client:
	case d.doubt.IsZero():
		d.doubt = now
	case now.Sub(d.doubt) >= maxDoubt:
		d.client, d.doubt = false, time.Time{}
	}
	return d.client
}
