package node

import (
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/peerstore"
	"github.com/kadquic/kadquic/wire"
)

// deadAddrs are addresses that do not answer at all.
func deadAddrs() []wire.Addr {
	return []wire.Addr{wire.AddrFrom(host(500)), wire.AddrFrom(host(501))}
}

// oldRecord is a peer record that was signed an hour ago.
func oldRecord(t *testing.T, of int, info wire.PeerInfo) *wire.Signed {
	t.Helper()
	value, err := info.Value()
	if err != nil {
		t.Fatal(err)
	}
	signed := time.Now().Add(-time.Hour)
	id := idOf(testKey(of))
	r, err := wire.Sign(wire.Record{Kind: wire.KindPeer, Key: id.Key(), Seq: uint64(signed.UnixMilli()),
		Expiry: signed.Add(wire.MaxTTL), Value: value}, testKey(of))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// What a node knows of where a peer is may be out of date in several ways. The network
// knows better, and is asked while the dead addresses are dialled.
func TestDialByIDDoesNotWaitForTheDead(t *testing.T) {
	const (
		servers = 12
		bound   = time.Second
	)
	tell := func(alice *Node, bob wire.PeerID, from peerstore.Source) {
		alice.peers.Add(bob, from, time.Now(), 0, deadAddrs()...)
	}
	// Each makes bob the node of index servers, and says what alice knows of it.
	for name, c := range map[string]struct {
		client bool
		knows  func(t *testing.T, s *testNetwork, alice, bob *Node)
	}{
		"nothing known": {knows: func(*testing.T, *testNetwork, *Node, *Node) {}},
		"two dead addresses told": {knows: func(_ *testing.T, _ *testNetwork, alice, bob *Node) {
			tell(alice, bob.ID(), peerstore.SourceTold)
		}},
		"two dead addresses told by the user": {knows: func(_ *testing.T, _ *testNetwork, alice, bob *Node) {
			tell(alice, bob.ID(), peerstore.SourceUser)
		}},
		"two dead addresses, proved a minute ago": {knows: func(_ *testing.T, _ *testNetwork, alice, bob *Node) {
			tell(alice, bob.ID(), peerstore.SourceDialled)
			time.Sleep(time.Minute)
		}},
		"it failed lately": {knows: func(_ *testing.T, _ *testNetwork, alice, bob *Node) {
			tell(alice, bob.ID(), peerstore.SourceTold)
			for range 5 {
				alice.backoff.Failed(bob.ID(), time.Now())
			}
		}},
		"its record is outdated": {knows: func(t *testing.T, _ *testNetwork, alice, bob *Node) {
			tell(alice, bob.ID(), peerstore.SourceRecord)
			alice.peers.SetRecord(bob.ID(), oldRecord(t, servers, wire.PeerInfo{Mode: wire.ModeServer, Addrs: deadAddrs()}))
		}},
		"a client, of which nothing is known": {client: true, knows: func(*testing.T, *testNetwork, *Node, *Node) {}},
		"a client, at dead addresses": {client: true, knows: func(_ *testing.T, _ *testNetwork, alice, bob *Node) {
			tell(alice, bob.ID(), peerstore.SourceTold)
		}},
		"its relays are dead": {client: true, knows: func(t *testing.T, _ *testNetwork, alice, bob *Node) {
			tell(alice, bob.ID(), peerstore.SourceRecord)
			gone := []wire.PeerID{idOf(testKey(700)), idOf(testKey(701))}
			for i, relay := range gone {
				alice.peers.Add(relay, peerstore.SourceTold, time.Now(), 0, deadAddrs()[i])
			}
			alice.peers.SetRecord(bob.ID(), oldRecord(t, servers, wire.PeerInfo{Mode: wire.ModeClient, Addrs: deadAddrs(), Relays: gone}))
		}},
		"its relays do not know it any more": {client: true, knows: func(t *testing.T, s *testNetwork, alice, bob *Node) {
			tell(alice, bob.ID(), peerstore.SourceRecord)
			held := map[wire.PeerID]bool{}
			for _, id := range bob.relays.Relays() {
				held[id] = true
			}
			var others []wire.PeerID
			for _, n := range s.nodes[:servers] {
				if !held[n.ID()] && len(others) < 3 {
					others = append(others, n.ID())
				}
			}
			alice.peers.SetRecord(bob.ID(), oldRecord(t, servers, wire.PeerInfo{Mode: wire.ModeClient, Addrs: deadAddrs(), Relays: others}))
		}},
		"it has moved, and was a client with other relays": {knows: func(t *testing.T, s *testNetwork, alice, bob *Node) {
			tell(alice, bob.ID(), peerstore.SourceDialled)
			alice.peers.SetRecord(bob.ID(), oldRecord(t, servers, wire.PeerInfo{
				Mode: wire.ModeClient, Addrs: deadAddrs(), Relays: []wire.PeerID{s.nodes[1].ID(), idOf(testKey(700))}}))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			inSwarm(t, servers, simnet.Options{Delay: 40 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
				config := Config{}
				if c.client {
					config.Mode = ModeClient
				}
				bob := s.add(config)
				echoes(t, bob)
				if c.client {
					awaitThat(t, "bob has reservations", func() bool { return len(bob.Relays()) == wantRelays })
					time.Sleep(time.Minute) // its record is published
				}
				alice := s.add(Config{Mode: ModeClient})
				c.knows(t, s, alice, bob)
				began := time.Now()
				conn, err := alice.Dial(within(t, time.Minute), bob.ID(), echoTest)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				took := time.Since(began)
				said(t, conn, "hello")
				t.Logf("dialled after %v, %v", took, conn.Path())
				if took > bound {
					t.Errorf("dialled after %v, want at most %v", took, bound)
				}
				if c, ok := alice.Conn(bob.ID()); ok && c.Call.Connected > 0 && c.Call.Connected != took {
					t.Errorf("the c.Call says that it was connected after %v, and its user waited %v", c.Call.Connected, took)
				}
			})
		})
	}
}
