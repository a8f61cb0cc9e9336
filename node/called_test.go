package node

import (
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"net/netip"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/wire"
)

// A call is answered only if the caller itself has made it, to us, just now, and once;
// and not too often.
func TestCallsThatAreNotAnswered(t *testing.T) {
	inSwarm(t, 2, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *swarm) {
		relay, bob := s.nodes[0], s.nodes[1]
		if _, err := bob.Ping(t.Context(), relay.ID()); err != nil {
			t.Fatal(err)
		}
		c, _ := bob.pool.Lookup(publicKey(relay.ID()))
		l := c.Value.(*link)
		alice := testKey(77)
		var from wire.PeerID
		copy(from[:], alice[32:])
		intro := func(change func(*wire.CandidateOffer)) wire.Call {
			key, err := ecdh.X25519().GenerateKey(rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			i := wire.CandidateOffer{To: bob.ID(), Key: [32]byte(key.PublicKey().Bytes()), At: time.Now()}
			change(&i)
			return wire.Call{Peer: from, Passed: true, Offer: i.Sign(alice), Padding: 100}
		}
		as := func(what string, call wire.Call, want error) {
			t.Helper()
			time.Sleep(2 * time.Second) // within what one may ask for
			if _, err := bob.called(l, call); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", what, err, want)
			}
		}
		good := intro(func(*wire.CandidateOffer) {})
		as("a good one", good, nil)
		as("the same again", good, wire.CodeUnreachable)
		as("for another", intro(func(i *wire.CandidateOffer) { i.To = relay.ID() }), wire.CodeUnreachable)
		as("an answer", intro(func(i *wire.CandidateOffer) { i.Reply[0] = 1 }), wire.CodeUnreachable)
		as("an old one", intro(func(i *wire.CandidateOffer) { i.At = i.At.Add(-maxCallAge - time.Second) }), wire.CodeUnreachable)
		as("one of the future", intro(func(i *wire.CandidateOffer) { i.At = i.At.Add(maxCallAge + 10*time.Second) }), wire.CodeUnreachable)
		as("a worthless key", intro(func(i *wire.CandidateOffer) { i.Key = [32]byte{1} }), wire.CodeUnreachable)
		other := intro(func(*wire.CandidateOffer) {})
		other.Peer = relay.ID()
		as("of another", other, wire.CodeUnreachable)
		as("garbage", wire.Call{Peer: from, Offer: []byte("hello")}, wire.CodeUnreachable)

		busy := 0
		for range 20 {
			if _, err := bob.called(l, intro(func(*wire.CandidateOffer) {})); errors.Is(err, wire.CodeBusy) {
				busy++
			}
		}
		if busy < 12 {
			t.Errorf("of 20 calls at once, %d are too many", busy)
		}
	})
}

// A call that is passed on by a peer at which the node has no reservation is refused,
// however genuine: nobody but a relay of its own choice may have it send probes.
func TestCallsByARelayThatIsNotOurs(t *testing.T) {
	inSwarm(t, 1, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *swarm) {
		bob, x := s.nodes[0], s.stranger(1)
		k := x.meet(bob)
		alice := testKey(77)
		var from wire.PeerID
		copy(from[:], alice[32:])
		key, err := ecdh.X25519().GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		intro := wire.CandidateOffer{To: bob.ID(), Key: [32]byte(key.PublicKey().Bytes()), At: time.Now()}
		call := wire.Call{Peer: from, Passed: true, Offer: intro.Sign(alice), Padding: 100}
		k.refusedWith(call, wire.CodeUnreachable)
		if g := bob.agents.agentWith(from); g != nil {
			t.Error("the call has begun a session")
		}
		c, _ := bob.pool.Lookup(publicKey(x.id))
		if _, err := bob.called(c.Value.(*link), call); err != nil { // it is good, and was not looked at
			t.Errorf("the same call, by a relay of the node's own: %v", err)
		}
	})
}

// A peer that is known through a relay has us send probes to the world, and to our own
// house only if we have one.
func TestWhereProbesMayGo(t *testing.T) {
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *swarm) {
		n := s.nodes[0]
		far, near := netip.MustParseAddr("9.9.9.9"), netip.MustParseAddr("127.0.0.1")
		for _, c := range []struct {
			addr  string
			relay netip.Addr
			want  bool
		}{
			{"8.8.8.8:4774", far, true},
			{"[2600::1]:4774", far, true},
			{"192.168.1.1:4774", far, false}, // the node of a swarm has no such address
			{"127.0.0.1:4774", far, false},
			{"127.0.0.1:4774", near, true},
			{"169.254.1.1:4774", far, false},
			{"[fe80::1]:4774", far, false},
			{"[2002::1]:4774", far, false},
			{"224.0.0.1:4774", far, false},
			{"255.255.255.255:4774", far, false},
			{"0.0.0.0:4774", far, false},
			{"8.8.8.8:0", far, false},
			{elsewhere.String(), far, false},
		} {
			if got := n.mayProbe(netip.MustParseAddrPort(c.addr), c.relay); got != c.want {
				t.Errorf("%s, relay at %v: %v", c.addr, c.relay, got)
			}
		}
	})
}

// The ordinary connection to a peer that has relays is there by luck: a conversation
// goes by one that can be mended.
func TestConversationsCanBeMended(t *testing.T) {
	for _, delay := range []time.Duration{20 * time.Millisecond, 300 * time.Millisecond} {
		t.Run(delay.String(), func(t *testing.T) { conversationIsMendable(t, delay) })
	}
}

func conversationIsMendable(t *testing.T, delay time.Duration) {
	inSwarm(t, 4, simnet.Options{Delay: delay}, func(t *testing.T, s *swarm) {
		bob := s.add(Config{Mode: ModeClient})
		alice := s.add(Config{Mode: ModeClient})
		echoes(t, bob)
		awaitThat(t, "bob has places at relays", func() bool { return len(bob.Relays()) == wantRelays })
		at := ma.StringCast("/ip4/" + host(4).Addr().String() + "/udp/4774/quic-v1/p2p/" + bob.ID().String())
		if _, err := alice.Connect(t.Context(), at); err != nil {
			t.Fatal(err)
		}
		if _, err := alice.Learn(bob.circuits()[0]); err != nil {
			t.Fatal(err)
		}
		c, err := alice.Dial(t.Context(), bob.ID(), echoTest)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		said(t, c, "hello")
		if !c.(*appStream).Stream.Conn().Virtual() {
			t.Error("the stream goes by the ordinary connection")
		}
	})
}

func TestReplayCache(t *testing.T) {
	var r replayCache
	now := time.Now()
	if !r.fresh([32]byte{1}, now) || r.fresh([32]byte{1}, now.Add(maxCallAge)) {
		t.Error("a key is new once")
	}
	if !r.fresh([32]byte{1}, now.Add(3*maxCallAge)) || len(r.order) != 1 || len(r.seen) != 1 {
		t.Error("keys are forgotten once they are too old to be believed")
	}
}

// A relay that passes on as many calls as it can, by peers made up for each, for longer
// than calls are remembered: those who call through another relay are answered, and what
// is remembered is bounded.
func TestAFloodOfCallsThroughOneRelay(t *testing.T) {
	gs, bad, good := newAgents(), newQuota(), newQuota() // of the relays
	now, made := time.Now(), 0
	call := func(relay *quota) bool {
		made++
		id := wire.PeerID{3, byte(made), byte(made >> 8), byte(made >> 16)}
		return relay.calls.AllowN(now, 1) && gs.calls.AllowN(now, 1) && gs.replays.fresh(id, now) && gs.callers.allow(id, now)
	}
	most := 0
	for second := range 2 * int(believed/time.Second) {
		for range 200 {
			call(bad)
		}
		if !call(good) {
			t.Fatalf("after %d s of the flood, another's call is refused", second)
		}
		now = now.Add(time.Second)
		most = max(most, len(gs.replays.seen))
	}
	if bound := callsBurst + callsRate*int(believed/time.Second); most > bound || len(gs.callers.by) > maxCallers {
		t.Errorf("%d keys are remembered, and %d callers", most, len(gs.callers.by))
	}
}
