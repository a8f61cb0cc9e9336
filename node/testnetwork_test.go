package node

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/wire"
)

// A testNetwork is a network of real nodes, on real QUIC, in a simulated network and
// in virtual time.
type testNetwork struct {
	t     *testing.T
	net   *simnet.Network
	nodes []*Node
	rand  *rand.Rand
}

// inSwarm runs a test in a bubble of virtual time, with n nodes that have all
// joined through the first.
func inSwarm(t *testing.T, n int, o simnet.Options, test func(*testing.T, *testNetwork)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &testNetwork{t: t, net: simnet.New(o), rand: rand.New(rand.NewPCG(o.Seed, 1))}
		defer s.net.Close()
		defer s.closeAll()
		for len(s.nodes) < n {
			s.add(Config{})
		}
		test(t, s)
	})
}

// host returns the address of the i-th node. Each is in a separate network, so that limits per
// network do not apply.
func host(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{25, byte(i >> 8), byte(i), 1}), 4774)
}

// testKey is the i-th node's identity, the same in every run.
func testKey(i int) ed25519.PrivateKey {
	var seed [32]byte
	binary.BigEndian.PutUint64(seed[:], uint64(i)+1)
	return ed25519.NewKeyFromSeed(seed[:])
}

// add starts one more node, joined through the first.
func (s *testNetwork) add(c Config) *Node {
	s.t.Helper()
	n := s.make(c)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := n.Start(ctx); err != nil {
		s.t.Fatalf("node %d: %v", len(s.nodes)-1, err)
	}
	return n
}

// addNegligent starts n nodes that neither republish nor hand over, so that a node that was cut off
// stays behind until a get repairs it.
func (s *testNetwork) addNegligent(n int) {
	s.t.Helper()
	for range n {
		s.add(Config{RepublishInterval: -1})
	}
}

func (s *testNetwork) make(c Config) *Node {
	s.t.Helper()
	i := len(s.nodes)
	if c.Key == nil {
		c.Key = testKey(i)
	}
	if c.PacketConns == nil {
		c.PacketConns = []net.PacketConn{s.net.Listen(host(i))}
	}
	if c.Bootstrap == nil && i > 0 {
		c.Bootstrap = s.addrs(0)
	}
	n, err := New(c)
	if err != nil {
		s.t.Fatal(err)
	}
	s.nodes = append(s.nodes, n)
	return n
}

func (s *testNetwork) addrs(i int) []ma.Multiaddr {
	return []ma.Multiaddr{ma.StringCast(fmt.Sprintf("/ip4/%s/udp/%d/quic-v1/p2p/%s", host(i).Addr(), host(i).Port(), s.nodes[i].ID()))}
}

func (s *testNetwork) closeAll() {
	for _, n := range s.nodes {
		n.Close()
	}
}

// kill cuts off the host of the i-th node silently.
func (s *testNetwork) kill(i int) { s.net.Kill(host(i)) }

// pick returns a random node among those from first on.
func (s *testNetwork) pick(first int) *Node { return s.nodes[first+s.rand.IntN(len(s.nodes)-first)] }

// within returns a context that ends after d of virtual time.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// storeLocal stores a record on this node alone.
func (n *Node) storeLocal(r *wire.Signed) error {
	return n.search.StoreAt(context.Background(), n.id, r, nil)
}
