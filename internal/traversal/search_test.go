package traversal

import (
	"net/netip"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/punch"
	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

// Both sides of a search must begin it, for the same call and the same socket. Each decides
// by the mapping that this call has told the peer, even if it has learned another since.
func TestBothSidesAgreeOnTheSearcher(t *testing.T) {
	const (
		unknown, none, independent, sequential, random = wire.MappingUnknown, wire.MappingNone, wire.MappingIndependent, wire.MappingSequential, wire.MappingRandom

		neither, opensSockets, probesPorts, callsAgain = "no search", "it opens sockets", "it probes ports", "it calls again"
	)
	inWorld(t, func(t *testing.T, w *world) {
		now := time.Now()
		seen, first := netip.MustParseAddrPort("26.2.0.1:5000"), netip.MustParseAddrPort("26.2.0.1:6000")
		for _, c := range []struct {
			told, peer         wire.Mapping
			inbound, newSocket bool
			want               string
		}{
			{random, independent, false, false, opensSockets},
			{random, independent, true, false, opensSockets},
			{random, none, true, false, opensSockets},
			{random, random, true, false, neither},
			{random, sequential, false, false, neither},
			{random, unknown, false, false, neither},
			{independent, random, false, true, probesPorts},
			{independent, random, true, true, probesPorts},
			{independent, random, true, false, neither}, // another peer may see a used socket elsewhere
			{independent, random, false, false, callsAgain},
			{unknown, random, false, false, callsAgain},
			{unknown, random, true, false, neither},
			{none, random, false, false, probesPorts},
			{none, random, true, false, probesPorts},
			{sequential, random, false, true, neither},
			{sequential, random, false, false, neither},
			{independent, independent, false, true, neither},
			{unknown, independent, true, false, neither},
		} {
			checks, err := punch.NewCaller(punch.Config{Rand: randomUint64}, now, now, nil)
			if err != nil {
				t.Fatal(err)
			}
			peer := wire.CandidateOffer{
				Mapping: c.peer, Birthday: true,
				Addrs: []wire.Addr{wire.AddrFrom(netip.MustParseAddrPort("[2600::1]:5000")), wire.AddrFrom(first), wire.AddrFrom(seen)},
			}
			s := newSession(w.Sessions, wire.PeerID{7})
			list := &checklist{checks: checks, mapping: c.told, inbound: c.inbound, newSocket: c.newSocket}
			older := &checklist{checks: checks, search: portSearch{opensSockets: true, credit: 1}, ports: []*quic.Port{nil}}
			s.checklists = []*checklist{older, list}
			defer close(s.ended) // no goroutine runs it
			s.addCandidates(now, list, peer, wire.AddrFrom(seen), netip.MustParseAddr("25.0.0.1"))
			p, got := &list.search, neither
			switch {
			case p.opensSockets && p.probesPorts:
				got = "both"
			case p.opensSockets:
				got = opensSockets
			case p.probesPorts:
				got = probesPorts
			case s.restart.calls > 0:
				got = callsAgain
			}
			if got != c.want {
				t.Errorf("told %v, peer %v, inbound %v, new socket %v: %s, want %s", c.told, c.peer, c.inbound, c.newSocket, got, c.want)
			}
			if p.opensSockets && p.target != first {
				t.Errorf("the sockets send to %v, want %v, which the offer names first", p.target, first)
			}
			if begun := p.opensSockets || p.probesPorts; begun != (older.search.credit == 0) {
				t.Errorf("%s: an older search has ended: %v", got, older.search.credit == 0)
			}
		}
	})
}
