package node

import (
	"net/netip"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/punch"
	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

// Both sides of a search must begin it, for the same call and the same socket: who
// searches goes by what this call has told the peer of our NAT, not by what we have found
// out since.
func TestWhoSearches(t *testing.T) {
	const (
		unknown, none, steady, sequential, random = wire.MappingUnknown, wire.MappingNone, wire.MappingIndependent, wire.MappingSequential, wire.MappingRandom

		nobody, scatters, searches, callsAgain = "nobody", "it scatters", "it searches", "it calls again"
	)
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *swarm) {
		n, now := s.nodes[0], time.Now()
		seen, fresh := netip.MustParseAddrPort("26.2.0.1:5000"), netip.MustParseAddrPort("26.2.0.1:6000")
		for _, c := range []struct {
			told, peer  wire.Mapping
			came, fresh bool
			want        string
		}{
			{random, steady, false, false, scatters},
			{random, steady, true, false, scatters},
			{random, none, true, false, scatters},
			{random, random, true, false, nobody},
			{random, sequential, false, false, nobody},
			{random, unknown, false, false, nobody},
			{steady, random, false, true, searches},
			{steady, random, true, true, searches},
			{steady, random, true, false, nobody}, // by a socket that may be seen elsewhere
			{steady, random, false, false, callsAgain},
			{unknown, random, false, false, callsAgain},
			{unknown, random, true, false, nobody},
			{none, random, false, false, searches},
			{none, random, true, false, searches},
			{sequential, random, false, true, nobody},
			{sequential, random, false, false, nobody},
			{steady, steady, false, true, nobody},
			{unknown, steady, true, false, nobody},
		} {
			call, err := punch.NewCaller(punch.Config{Rand: randomUint64}, now, now, nil)
			if err != nil {
				t.Fatal(err)
			}
			peer := wire.CandidateOffer{
				Mapping: c.peer, Birthday: true,
				Addrs: []wire.Addr{wire.AddrFrom(netip.MustParseAddrPort("[2600::1]:5000")), wire.AddrFrom(fresh), wire.AddrFrom(seen)},
			}
			g, a := newAgent(n, wire.PeerID{7}), &attempt{s: call, own: c.told, came: c.came, fresh: c.fresh}
			older := &attempt{s: call, birthday: birthday{scatter: true, fuel: 1}, ports: []*quic.Port{nil}}
			g.attempts = []*attempt{older, a}
			defer close(g.ended) // nobody runs it
			g.named(now, a, peer, wire.AddrFrom(seen), netip.MustParseAddr("25.0.0.1"))
			b, got := &a.birthday, nobody
			switch {
			case b.scatter && b.search:
				got = "both"
			case b.scatter:
				got = scatters
			case b.search:
				got = searches
			case g.heal.calling > 0:
				got = callsAgain
			}
			if got != c.want {
				t.Errorf("told %v, peer %v, came %v, by a fresh socket %v: %s, want %s", c.told, c.peer, c.came, c.fresh, got, c.want)
			}
			if b.scatter && b.target != fresh {
				t.Errorf("its sockets send to %v, want what the peer says first, %v", b.target, fresh)
			}
			if begun := b.scatter || b.search; begun != (older.birthday.fuel == 0) {
				t.Errorf("%s: an older search has ended: %v", got, older.birthday.fuel == 0)
			}
		}
	})
}
