package lan

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kadquic/kadquic/internal/natlab"
	"github.com/kadquic/kadquic/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait. A peer repeats a lost packet within a minute or two, and
// the repetition may be lost as well.
const patience = 5 * time.Minute

var everywhere = []netip.AddrPort{netip.MustParseAddrPort("[::]:4774")}

func peerID(i int) wire.PeerID {
	var seed [32]byte
	binary.BigEndian.PutUint64(seed[:], uint64(i))
	return wire.PeerID(ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey))
}

// A find is one report of a searcher.
type find struct {
	id wire.PeerID
	at []netip.AddrPort
}

// A searcher runs Discover on a host of a lab.
type searcher struct {
	t     *testing.T
	host  *natlab.Host
	id    wire.PeerID
	finds chan find
	end   context.CancelFunc
	done  chan struct{}

	others []find // taken from finds while await waited for another peer
}

func searchOn(t *testing.T, h *natlab.Host, i int, network string, at []netip.AddrPort) *searcher {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s := &searcher{t: t, host: h, id: peerID(i), finds: make(chan find, 1<<16), end: cancel, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		err := h.Do(func() error {
			return New(network, nil).Discover(ctx, s.id, func() []netip.AddrPort { return at }, func(id wire.PeerID, at []netip.AddrPort) {
				s.finds <- find{id, at}
			})
		})
		if err != context.Canceled {
			t.Errorf("%s: %v", h.Name(), err)
		}
	}()
	t.Cleanup(s.close)
	return s
}

func (s *searcher) close() {
	s.end()
	<-s.done
}

// await waits until a peer is reported, and returns its addresses.
func (s *searcher) await(id wire.PeerID) []netip.AddrPort {
	s.t.Helper()
	for i, f := range s.others {
		if f.id == id {
			s.others = slices.Delete(s.others, i, i+1)
			return f.at
		}
	}
	timeout := time.After(patience)
	for {
		select {
		case f := <-s.finds:
			if f.id == id {
				return f.at
			}
			s.others = append(s.others, f)
		case <-timeout:
			s.t.Fatalf("%s does not find it", s.host.Name())
		}
	}
}

func TestHostsOfOneLANFindEachOther(t *testing.T) {
	t.Parallel()
	for _, kind := range []natlab.Kind{natlab.Linux, natlab.IPv6Firewall} {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			lab := natlab.New(t)
			home := lab.NAT("home", kind, natlab.Options{IPv6: true})
			home.Cut() // no internet
			a := searchOn(t, lab.Host("a", home), 1, "main", everywhere)
			stranger := searchOn(t, lab.Host("stranger", home), 3, "other", everywhere)
			client := searchOn(t, lab.Host("client", home), 4, "main", nil)
			b := searchOn(t, lab.Host("b", home), 2, "main", everywhere)
			for _, pair := range [][2]*searcher{{a, b}, {b, a}, {client, a}, {client, b}} {
				var want []netip.AddrPort
				for _, ip := range []netip.Addr{pair[1].host.IP4(), pair[1].host.IP6()} {
					if ip.IsValid() {
						want = append(want, netip.AddrPortFrom(ip, 4774))
					}
				}
				if got := pair[0].await(pair[1].id); !slices.Equal(got, want) {
					t.Errorf("%s finds %s at %v, want %v", pair[0].host.Name(), pair[1].host.Name(), got, want)
				}
			}
			for _, s := range []*searcher{a, b, stranger} {
				for len(s.finds) > 0 {
					s.others = append(s.others, <-s.finds)
				}
				for _, f := range s.others {
					if f.id == stranger.id || f.id == client.id || s == stranger {
						t.Errorf("%s finds %v", s.host.Name(), f)
					}
				}
			}
		})
	}
}

// A host that changes its network finds the peers there.
func TestNewInterfaceIsUsed(t *testing.T) {
	t.Parallel()
	lab := natlab.New(t)
	home, office := lab.NAT("home", natlab.Linux), lab.NAT("office", natlab.Linux)
	a := searchOn(t, lab.Host("a", home), 1, "main", everywhere)
	b := searchOn(t, lab.Host("b", office), 2, "main", everywhere)
	c := searchOn(t, lab.Host("c", home), 3, "main", everywhere)
	a.await(c.id)
	a.host.Move(office)
	a.await(b.id)
	if got, want := b.await(a.id), []netip.AddrPort{netip.AddrPortFrom(a.host.IP4(), 4774)}; !slices.Equal(got, want) {
		t.Errorf("it is found at %v, want %v", got, want)
	}
}

// Peers on the same machine find each other as well.
func TestPeersOnOneMachine(t *testing.T) {
	t.Parallel()
	lab := natlab.New(t)
	h := lab.Home("h", natlab.Linux)
	a := searchOn(t, h, 1, "main", everywhere)
	b := searchOn(t, h, 2, "main", []netip.AddrPort{netip.AddrPortFrom(h.IP4(), 99), netip.MustParseAddrPort("127.0.0.1:1")})
	if got := a.await(b.id); !slices.Equal(got, []netip.AddrPort{netip.AddrPortFrom(h.IP4(), 99)}) {
		t.Errorf("it is found at %v", got)
	}
	b.await(a.id)
}

// Garbage, floods and forged records on the LAN: no address outside of it is reported, few
// peers are reported, and real peers are found.
func TestForgedAnnouncements(t *testing.T) {
	t.Parallel()
	lab := natlab.New(t)
	home := lab.NAT("home", natlab.Linux)
	began := time.Now()
	a := searchOn(t, lab.Host("a", home), 1, "main", everywhere)
	mallory := lab.Host("mallory", home)
	c, err := mallory.ListenPacket("udp4", ":5353")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	service := serviceOf("main")
	broadcast := netip.AddrFrom4([4]byte{192, 168, a.host.IP4().As4()[2], 255})
	lies := []netip.AddrPort{
		netip.MustParseAddrPort("25.1.0.1:4774"), netip.MustParseAddrPort("127.0.0.1:4774"),
		netip.MustParseAddrPort("10.0.0.1:4774"), netip.MustParseAddrPort("[fe80::1]:4774"),
		netip.AddrPortFrom(broadcast, 4774), netip.MustParseAddrPort("224.0.0.251:5353"),
	}
	near := netip.AddrPortFrom(mallory.IP4(), 4774)
	r := rand.New(rand.NewPCG(1, 2))
	send := func(b []byte) {
		for _, to := range []string{"224.0.0.251", a.host.IP4().String()} { // the second counts as little
			if _, err := c.WriteTo(b, &net.UDPAddr{IP: net.ParseIP(to), Port: port}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range 5000 {
		id := peerID(100 + i)
		send(answer(service, id, lies, ttl))
		good := answer(service, id, append(lies[:1:1], near), ttl)
		good[r.IntN(len(good))] ^= byte(r.Uint32())
		send(good)
		send(answer(service, id, []netip.AddrPort{near}, ttl))
		send(question(service))
		if i%100 == 0 {
			time.Sleep(time.Millisecond) // that some of it is read
		}
	}
	b := searchOn(t, lab.Host("b", home), 2, "main", everywhere)
	b.await(a.id)
	timeout := time.After(patience)
	found := 0
	for honest := false; !honest; {
		select {
		case f := <-a.finds:
			if honest = f.id == b.id; honest {
				continue
			}
			found++
			for _, at := range f.at {
				if at.Addr().As4()[2] != near.Addr().As4()[2] || at.Addr() == broadcast {
					t.Errorf("reported at %v", f.at)
				}
			}
		case <-timeout:
			t.Fatal("it no longer finds who is there")
		}
	}
	took := time.Since(began)
	if most := maxFoundOf * (1 + int(took.Minutes())); found == 0 || found > most { // so many a minute
		t.Errorf("%d lies were reported within %v, want at most %d", found, took, most)
	}
	sent, err := a.host.Counters()
	if err != nil {
		t.Fatal(err)
	}
	if most := 40 + 4*int(took.Seconds()); sent.OutPackets > most { // a few questions and announcements, and an answer a second
		t.Errorf("10,000 questions within %v made it send %d packets, want at most %d", took, sent.OutPackets, most)
	}
	t.Logf("%d lies reported; %+v", found, sent)
}
