package node

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/wire"
)

// addBehind starts one more node, on a host behind a NAT.
func (s *testNetwork) addBehind(nat *simnet.NAT, c Config) *Node {
	s.t.Helper()
	c.PacketConns = []net.PacketConn{nat.Listen(inside(len(s.nodes)))}
	c.Mode = ModeClient
	n := s.add(c)
	echoes(s.t, n)
	return n
}

// inside is the address of the i-th node behind its NAT.
func inside(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 2}), 4774)
}

// A household is a NAT with one node behind it, and another NAT to which it can move.
type household struct {
	*Node
	nat, other *simnet.NAT
	at         netip.Addr // of the host
}

// household adds one whose node has reservations at relays.
func (s *testNetwork) household(symmetric bool, c Config) *household {
	s.t.Helper()
	return s.householdAt(wantRelays, symmetric, c)
}

// householdAt is household where there are so many relays.
func (s *testNetwork) householdAt(relays int, symmetric bool, c Config) *household {
	s.t.Helper()
	i := len(s.nodes)
	nat := func(k byte) *simnet.NAT {
		return s.net.NAT(netip.AddrFrom4([4]byte{26, byte(i >> 8), byte(i), k}), symmetric)
	}
	h := &household{nat: nat(1), other: nat(2), at: inside(i).Addr()}
	h.Node = s.addBehind(h.nat, c)
	awaitThat(s.t, "reservations", func() bool { return len(h.Relays()) == relays })
	return h
}

// reboot has the NAT forget its mappings.
func (h *household) reboot() { h.nat.Reset() }

// move takes the host behind the other NAT.
func (h *household) move() {
	h.nat, h.other = h.other, h.nat
	h.other.Reset() // or the host would be where it was known before
	h.nat.Attach(h.at)
}

// A chatter says something to a peer every 200 ms and waits for the echo: by one stream, or
// by one for each message, as a chat does.
type chatter struct {
	from, to *Node
	streams  bool // one for each message

	mu    sync.Mutex
	slow  time.Duration // the longest that a message took, since when last asked
	count int
	dials int // streams that failed
}

const chatEvery = 200 * time.Millisecond

func (c *chatter) run(ctx context.Context) {
	var s net.Conn
	for n := uint64(1); ctx.Err() == nil; n++ {
		began := time.Now()
		for ctx.Err() == nil {
			if s == nil {
				s, _ = c.from.Dial(ctx, c.to.ID(), echoTest)
			}
			if s != nil && c.say(s, n) == nil {
				break
			}
			if s != nil {
				s.Close()
				s = nil
			}
			c.mu.Lock()
			c.dials++
			c.mu.Unlock()
			c.from.ClosePeer(c.to.ID())
		}
		if s != nil && c.streams {
			s.Close()
			s = nil
		}
		c.mu.Lock()
		if ctx.Err() == nil {
			c.slow, c.count = max(c.slow, time.Since(began)), c.count+1
		}
		c.mu.Unlock()
		select {
		case <-time.After(chatEvery - time.Since(began)%chatEvery):
		case <-ctx.Done():
		}
	}
	if s != nil {
		s.Close()
	}
}

// say sends a message and waits until it comes back.
func (c *chatter) say(s net.Conn, n uint64) error {
	s.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := s.Write(binary.BigEndian.AppendUint64(nil, n)); err != nil {
		return err
	}
	var b [8]byte
	if _, err := io.ReadFull(s, b[:]); err != nil {
		return err
	}
	if got := binary.BigEndian.Uint64(b[:]); got != n {
		return fmt.Errorf("message %d comes back as %d", n, got)
	}
	return nil
}

// slowest returns the longest that a message has taken since it was last asked, and how
// often a stream failed.
func (c *chatter) slowest() (time.Duration, int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	slow, dials := c.slow, c.dials
	c.slow, c.dials = 0, 0
	return slow, dials
}

// A delays is how long messages took after each of many events.
type delays []time.Duration

func (d delays) quantile(q float64) time.Duration {
	sorted := slices.Sorted(slices.Values(d))
	return sorted[int(q*float64(len(sorted)-1)+0.5)]
}

func (d delays) String() string {
	return fmt.Sprintf("p50 %v, p99 %v, worst %v of %d", d.quantile(.5), d.quantile(.99), d.quantile(1), len(d))
}

// A conversation survives NAT reboots and moves of the hosts on the same connection, no matter which
// side sends, and whether each message has its own stream. Bounds of the longest wait for an
// answer: p50 1.2 s, p99 3 s, none over 5.
func TestConversationSurvivesRebootsAndMoves(t *testing.T) {
	type setting struct {
		who       string
		streams   bool
		symmetric bool
	}
	settings := []setting{
		{"caller", false, false}, {"caller", true, false}, {"callee", false, false}, {"callee", true, false},
		{"both", false, false}, {"both", true, false}, {"both", false, true}, {"both", true, true},
	}
	var mu sync.Mutex
	all := make(map[string]delays)
	t.Cleanup(func() {
		var every delays
		for _, what := range slices.Sorted(maps.Keys(all)) {
			t.Logf("%s: %v", what, all[what])
			every = append(every, all[what]...)
		}
		t.Logf("all: %v", every)
		if every.quantile(.5) > 1200*time.Millisecond || every.quantile(.99) > 3*time.Second {
			t.Errorf("p50 %v, p99 %v; want at most 1.2 s and 3 s", every.quantile(.5), every.quantile(.99))
		}
	})
	for _, o := range settings {
		t.Run(fmt.Sprintf("%+v", o), func(t *testing.T) {
			inSwarm(t, 6, simnet.Options{Delay: 40 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
				alice, bob := s.household(o.symmetric, Config{}), s.household(o.symmetric, Config{})
				talk := s.talk(alice.Node, bob.Node, o.who, o.streams)
				events := []struct {
					what string
					do   func()
				}{
					{"the caller's NAT reboots", alice.reboot},
					{"the callee's NAT reboots", bob.reboot},
					{"both NATs reboot", func() { alice.reboot(); bob.reboot() }},
					{"the caller moves", alice.move},
					{"the callee moves", bob.move},
					{"both move", func() { alice.move(); bob.move() }},
				}
				for i := range 2 * len(events) {
					e := events[i%len(events)]
					time.Sleep(time.Duration(i*137) * time.Millisecond) // to meet what goes on every so often in all its phases
					e.do()
					time.Sleep(9 * time.Second)
					slow, failed := talk.slowest()
					mu.Lock()
					all[e.what] = append(all[e.what], slow)
					mu.Unlock()
					if slow > 5*time.Second || failed > 0 {
						p, _ := alice.Conn(bob.ID())
						t.Errorf("%d, %s: an answer took %v, and %d streams failed; the path is %v", i, e.what, slow, failed, p.Path)
					}
				}
				talk.end()
			})
		})
	}
}

// A conversation is one or two chatters.
type conversation struct {
	chatters []*chatter
	cancel   context.CancelFunc
	wg       sync.WaitGroup
}

// talk has one node call another. The caller, the callee or both say something then.
func (s *testNetwork) talk(caller, callee *Node, who string, streams bool) *conversation {
	s.t.Helper()
	learns(s.t, caller, callee)
	first, err := caller.Dial(s.t.Context(), callee.ID(), echoTest)
	if err != nil {
		s.t.Fatal(err)
	}
	said(s.t, first, "hello")
	first.Close()
	var ctx context.Context
	k := &conversation{}
	ctx, k.cancel = context.WithCancel(s.t.Context())
	if who != "callee" {
		k.chatters = append(k.chatters, &chatter{from: caller, to: callee, streams: streams})
	}
	if who != "caller" {
		k.chatters = append(k.chatters, &chatter{from: callee, to: caller, streams: streams})
	}
	for _, c := range k.chatters {
		k.wg.Go(func() { c.run(ctx) })
	}
	time.Sleep(10 * time.Second)
	k.slowest()
	return k
}

// slowest returns the longest that a message has taken since it was last asked, and how
// many streams failed.
func (k *conversation) slowest() (slow time.Duration, failed int) {
	for _, c := range k.chatters {
		d, n := c.slowest()
		slow, failed = max(slow, d), failed+n
	}
	return slow, failed
}

func (k *conversation) end() {
	k.cancel()
	k.wg.Wait()
}

// A relay to which the way leads in one direction only is replaced as one that has died:
// here relays that have dialled the peers, and so do not follow them to another address.
func TestConversationSurvivesRelaysThatDoNotFollow(t *testing.T) {
	inSwarm(t, 6, simnet.Options{Delay: 40 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		alice, bob := s.household(false, Config{}), s.household(false, Config{})
		time.Sleep(10 * time.Second) // or the connections would be taken to have crossed
		for _, h := range []*household{alice, bob} {
			for _, relay := range s.nodes[:6] {
				c, ok := relay.pool.Lookup(publicKey(h.ID()))
				if !ok {
					continue
				}
				relay.pool.Retire(c)
				again, err := dialHost{relay}.Dial(t.Context(), h.ID(), c.RemoteAddr(), wire.AddrFrom(c.RemoteAddr()))
				if err != nil {
					t.Fatal(err)
				}
				relay.pool.Add(again)
			}
		}
		time.Sleep(2 * time.Second) // the reservations move to the new connections
		for _, h := range []*household{alice, bob} {
			for _, r := range h.Relays() {
				if c, _ := h.pool.Lookup(publicKey(r.ID)); c == nil || c.Dialled() {
					t.Fatalf("the connection to %v was not made by the relay", r.ID)
				}
			}
		}
		talk := s.talk(alice.Node, bob.Node, "both", true)
		for i, h := range []*household{alice, bob} {
			h.reboot()
			time.Sleep(20 * time.Second)
			if slow, failed := talk.slowest(); slow > 5*time.Second || failed > 0 {
				t.Errorf("reboot %d: an answer took %v, and %d streams failed", i, slow, failed)
			}
		}
		talk.end()
	})
}

// The relay of a conversation dies, at any phase of the checks of it: both sides go on by
// another, also the one that the peer cannot be called from.
func TestConversationSurvivesTheDeathOfItsRelay(t *testing.T) {
	for phase := time.Duration(0); phase < time.Second; phase += 250 * time.Millisecond {
		t.Run(phase.String(), func(t *testing.T) {
			inSwarm(t, 6, simnet.Options{Delay: 20 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
				bob := s.household(true, Config{})
				alice := s.add(Config{Mode: ModeClient, PacketConns: []net.PacketConn{
					s.net.NAT(netip.MustParseAddr("26.9.0.1"), true).Listen(inside(len(s.nodes))),
				}}) // it listens to nothing, and so has no reservation
				talk := s.talk(alice, bob.Node, "caller", true)
				time.Sleep(2*time.Minute + phase) // until calls for a direct path are rare
				conn, _ := alice.Conn(bob.ID())
				path := conn.Path
				i := slices.IndexFunc(s.nodes, func(n *Node) bool { return n.ID() == path.Relay })
				if i < 0 {
					t.Fatalf("the path is %v", path)
				}
				talk.slowest()
				s.kill(i)
				time.Sleep(30 * time.Second)
				if slow, failed := talk.slowest(); slow > 3*time.Second || failed > 0 {
					t.Errorf("an answer took %v, and %d streams failed", slow, failed)
				}
				talk.end()
			})
		})
	}
}
