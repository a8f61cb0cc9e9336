package ticket

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/kadquic/kadquic/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type fakeHost struct {
	mu                                     sync.Mutex
	addrs                                  []wire.Addr
	relays                                 []Relay
	needs, searching, probing, isReachable bool
}

func (h *fakeHost) set(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
}

func (h *fakeHost) setRelays(relays ...Relay) { h.set(func() { h.relays = relays }) }

func (h *fakeHost) Addrs() (all []wire.Addr) { h.set(func() { all = h.addrs }); return all }
func (h *fakeHost) Relays() (all []Relay)    { h.set(func() { all = slices.Clone(h.relays) }); return all }
func (h *fakeHost) NeedsRelays() bool        { return h.needs }
func (h *fakeHost) IsSearching() bool        { return h.searching }
func (h *fakeHost) IsProbing() bool          { return h.probing }
func (h *fakeHost) IsReachable() (is bool)   { h.set(func() { is = h.isReachable }); return is }

func peerID(i int) wire.PeerID {
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = byte(i)
	return wire.PeerID(ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey))
}

func at(s string) wire.Addr { return wire.AddrFrom(netip.MustParseAddrPort(s)) }

// relayAt returns relay i in the i-th network of each family that is asked for.
func relayAt(i int, network int, four, six bool) Relay {
	r := Relay{ID: peerID(i)}
	if four {
		r.Addrs = append(r.Addrs, at(fmt.Sprintf("25.1.%d.%d:4774", network, i)))
	}
	if six {
		r.Addrs = append(r.Addrs, at(fmt.Sprintf("[2600:%d::%d]:4774", network, i)))
	}
	return r
}

// relaysIn returns the relays that a ticket names, each once.
func relaysIn(t Ticket) (relays []wire.PeerID) {
	for _, a := range t.Addrs {
		if c, err := wire.ParseCircuit(a); err == nil && !slices.Contains(relays, c.Relay) {
			relays = append(relays, c.Relay)
		}
	}
	return relays
}

func TestRelaysOfATicketDifferInNetworkAndFamily(t *testing.T) {
	a, near := relayAt(1, 1, true, false), relayAt(2, 1, true, false)
	far, six, nearSix := relayAt(3, 2, true, false), relayAt(4, 3, false, true), relayAt(5, 1, true, true)
	for _, c := range []struct {
		of, want []Relay
		enough   bool
	}{
		{nil, nil, false},
		{[]Relay{a}, []Relay{a}, false},
		{[]Relay{a, near}, []Relay{a, near}, false},
		{[]Relay{a, near, far}, []Relay{a, far}, false},
		{[]Relay{a, near, far, six}, []Relay{a, six}, true},
		{[]Relay{a, nearSix, far}, []Relay{nearSix, far}, true},
		{[]Relay{near, nearSix}, []Relay{near, nearSix}, false},
	} {
		got := choose(c.of)
		same := func(a, b Relay) bool { return a.ID == b.ID }
		if !slices.EqualFunc(got, c.want, same) || areEnough(c.of) != c.enough {
			t.Errorf("of %v are chosen %v, want %v; enough: %v", c.of, got, c.want, areEnough(c.of))
		}
	}
}

func TestTicketKeepsRoomForRelays(t *testing.T) {
	h := &fakeHost{needs: true}
	for i := range 12 {
		h.addrs = append(h.addrs, at(fmt.Sprintf("10.0.%d.1:4774", i)))
	}
	h.relays = []Relay{relayAt(1, 1, true, true), relayAt(2, 2, true, true), relayAt(3, 3, true, true)}
	got := Issuer{peerID(0), h, nil}.First(t.Context())
	if len(got.Addrs) != MaxAddrs || len(relaysIn(got)) != wantedRelays || wire.IsCircuit(got.Addrs[1]) || !wire.IsCircuit(got.Addrs[2]) {
		t.Errorf("ticket %v, want two own addresses and four through relays", got.Addrs)
	}
}

func TestFirstTicketWaitsForWhatMayComeSoon(t *testing.T) {
	relay, other := relayAt(1, 1, true, true), relayAt(2, 2, true, true)
	for name, c := range map[string]struct {
		host  *fakeHost
		waits time.Duration
	}{
		"reachable":               {&fakeHost{}, 0},
		"probing":                 {&fakeHost{probing: true}, maxWait},
		"no relay":                {&fakeHost{needs: true}, maxWait},
		"one relay":               {&fakeHost{needs: true, relays: []Relay{relay}}, 0},
		"one relay, searching":    {&fakeHost{needs: true, searching: true, relays: []Relay{relay}}, maxWait},
		"two relays, searching":   {&fakeHost{needs: true, searching: true, relays: []Relay{relay, other}}, 0},
		"needs relays, no probes": {&fakeHost{needs: true, probing: true, relays: []Relay{relay, other}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				done := make(chan struct{})
				i := Issuer{peerID(0), c.host, done}
				wait := func(ctx context.Context, want time.Duration) {
					t.Helper()
					began := time.Now()
					if i.First(ctx); time.Since(began) != want {
						t.Errorf("it waits %v, want %v", time.Since(began), want)
					}
				}
				wait(t.Context(), c.waits)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				wait(ctx, min(c.waits, time.Second))
				close(done)
				wait(t.Context(), 0)
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		h := &fakeHost{needs: true}
		began := time.Now()
		time.AfterFunc(time.Second, func() { h.setRelays(relay) })
		got := Issuer{peerID(0), h, nil}.First(t.Context())
		if took := time.Since(began); took > time.Second+firstInterval || len(relaysIn(got)) != 1 {
			t.Errorf("the relay of a second is named after %v: %v", took, got)
		}
	})
}

// Another ticket follows when it is better, or when the last one is of no use any more.
func TestTicketsFollowWhenBetter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		h := &fakeHost{needs: true}
		a, b, c := relayAt(1, 1, true, false), relayAt(2, 2, true, false), relayAt(3, 3, true, true)
		h.setRelays(a)
		var mu sync.Mutex
		var shown []Ticket
		go func() {
			for ticket := range (Issuer{peerID(0), h, nil}).All(ctx) {
				mu.Lock()
				shown = append(shown, ticket)
				mu.Unlock()
			}
		}()
		want := func(what string, number int, relays ...Relay) {
			t.Helper()
			time.Sleep(5 * time.Second)
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			var ids []wire.PeerID
			for _, r := range relays {
				ids = append(ids, r.ID)
			}
			if len(shown) != number || !slices.Equal(relaysIn(shown[number-1]), ids) {
				t.Errorf("%s: shown are %v; want %d, the last through %v", what, shown, number, ids)
			}
		}
		want("one relay", 1, a)
		h.setRelays(a, b)
		want("two relays", 2, a, b)
		h.setRelays(b)
		want("one of two has died", 2, a, b)
		h.setRelays(b, c)
		want("two relays and two families", 3, b, c)
		h.setRelays()
		want("no relay is left", 3, b, c)
		h.setRelays(a)
		want("the last ticket is of no use", 4, a)
		h.set(func() { h.addrs = []wire.Addr{at("25.9.9.9:4774")} })
		want("an address that may not be reachable", 4, a)
		h.set(func() { h.addrs, h.isReachable = nil, true })
		want("reachable, but at no known address", 4, a)
		h.set(func() { h.addrs = []wire.Addr{at("25.9.9.9:4774")} })
		h.set(func() { h.isReachable = true })
		want("reachable", 5, a)
		cancel()
		synctest.Wait()
	})
}

func TestTicketsEndWithTheNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		done := make(chan struct{})
		h := &fakeHost{}
		time.AfterFunc(10*time.Second, func() { h.set(func() { h.addrs = []wire.Addr{at("25.9.9.9:4774")} }) })
		time.AfterFunc(time.Minute, func() { close(done) })
		var shown []int // addresses
		for ticket := range (Issuer{peerID(0), h, done}).All(t.Context()) {
			shown = append(shown, len(ticket.Addrs))
		}
		if !slices.Equal(shown, []int{0, 1}) {
			t.Errorf("tickets with %v addresses are shown, want none and then one", shown)
		}
	})
}
