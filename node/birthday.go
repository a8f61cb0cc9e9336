package node

import (
	"net/netip"
	"slices"
	"time"

	"github.com/kadquic/kadquic/internal/punch"
	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/wire"
)

// A birthday is our part in the search for a random port, for one attempt: which side
// we are on, and the fuel that we owe. The zero value is for attempts that need none.
type birthday struct {
	scatter bool           // our ports are random: we open many
	target  netip.AddrPort // on the peer's side, the only address then
	search  bool           // the peer's are: we look for one of them
	ip      netip.Addr

	begins time.Time // when it is due; zero: not, or it has begun
	fuel   int       // bytes owed still
	burnt  time.Time // when some was last sent
	place  func()    // gives the place among those under way back; nil: we have none
}

const (
	// simpler is how long ways that cost less have before the search begins.
	simpler = 150 * time.Millisecond
	// fuelEvery and fuelSize: 11 kB a second, what 200 probes cost but for what is sent
	// at once; twice that for 400 sockets.
	fuelEvery = 100 * time.Millisecond
	fuelSize  = 1100
	firstFuel = 300 * (punch.Size + 28)
)

// plan decides whether a search can help: the ports of one side are random, the other
// has one port for everybody, and both agree.
func (b *birthday) plan(now time.Time, own wire.Mapping, peer wire.Introduction, seen netip.AddrPort) {
	steady := func(m wire.Mapping) bool { return m == wire.MappingNone || m == wire.MappingIndependent }
	if !peer.Birthday || !seen.Addr().Is4() || reach.ScopeOf(seen.Addr()) != reach.ScopeGlobal {
		return
	}
	switch {
	case own == wire.MappingRandom && steady(peer.Mapping):
		b.scatter, b.target, b.fuel = true, seen, punch.BirthdayPrice(false, seen.Addr())
	case steady(own) && peer.Mapping == wire.MappingRandom:
		b.search, b.ip, b.fuel = true, seen.Addr(), punch.BirthdayPrice(true, seen.Addr())
	default:
		return
	}
	b.begins = now.Add(simpler)
}

func (b *birthday) end() {
	b.begins, b.fuel = time.Time{}, 0
	if b.place != nil {
		b.place()
		b.place = nil
	}
}

// stepBirthday begins the search when that is due, and pays for the peer's part in it.
func (m *tryst) stepBirthday(now time.Time, a *attempt) time.Time {
	b := &a.birthday
	if a.state.Found || a.s.Done(now) {
		b.end()
		return time.Time{}
	}
	if !b.begins.IsZero() {
		if now.Before(b.begins) {
			return b.begins
		}
		b.begins = time.Time{}
		if !m.beginBirthday(now, a) {
			b.end()
			return time.Time{}
		}
	}
	if b.place == nil || b.fuel <= 0 {
		return time.Time{}
	}
	size := fuelSize
	if b.search {
		size = 2 * fuelSize
	}
	if b.burnt.IsZero() {
		size = min(firstFuel, b.fuel)
	} else if now.Sub(b.burnt) < fuelEvery {
		return b.burnt.Add(fuelEvery)
	}
	b.burnt = now
	for ; size > 0; size -= fuelSize {
		m.n.sendFuel(m.id, min(size, fuelSize))
		b.fuel -= min(size, fuelSize)
	}
	return now.Add(fuelEvery)
}

// searches reports whether an attempt is searching for a random port.
func (a *attempt) searches() bool { return a.birthday.place != nil }

func (m *tryst) searching() bool { return slices.ContainsFunc(m.attempts, (*attempt).searches) }

func (m *tryst) beginBirthday(now time.Time, a *attempt) bool {
	b := &a.birthday
	if m.searching() {
		return false
	}
	places := m.n.trysts.birthdays
	select {
	case places <- struct{}{}:
	default:
		return false
	}
	b.place = func() { <-places }
	if b.search {
		a.s.Search(now, b.ip)
		return true
	}
	a.s.Scatter(now, b.target, func() (via int, ok bool) { return m.scatter(a) })
	return true
}

// scatter opens one of many sockets, in the place of the oldest when there are enough.
func (m *tryst) scatter(a *attempt) (via int, ok bool) {
	if i := len(a.ports) - punch.Sockets; i >= 0 {
		a.closePort(i)
	}
	p, err := m.t.OpenPort()
	if err != nil {
		m.n.config.Logger.Debug("no more sockets", "err", err)
		return 0, false
	}
	a.ports = append(a.ports, p)
	return len(a.ports), true
}

// fuelCame notes that a peer has paid, through a relay, for probes to its addresses.
func (n *Node) fuelCame(peer wire.PeerID, size int) {
	if m := n.trysts.trystWith(peer); m != nil {
		m.paid(size)
	}
}
