package nodetest

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/node"
	"github.com/kadquic/kadquic/wire"
)

// joinTimeout bounds the Start of one node.
const joinTimeout = time.Minute

// Options describe a network. The zero value has no delay, loses nothing, and has nodes
// with their default Config.
type Options struct {
	// Delay is how long a packet travels one way. A round trip takes twice that.
	// [Loopback] ignores it.
	Delay time.Duration
	// Jitter is added to Delay: uniformly from 0 to Jitter, for each packet. Packets
	// then overtake one another. [Loopback] ignores it.
	Jitter time.Duration
	// Loss is the share of packets that are lost, from 0 to 1.
	Loss float64
	// Seed determines the identities of the nodes and which packets are lost.
	Seed uint64
	// Config is the configuration of each node that the network starts itself. Key,
	// PacketConns, Listen and Bootstrap are set by the network where they are empty.
	Config node.Config
	// Log writes what the nodes log to the output of the test, each line with the
	// index of its node. A Logger in Config takes precedence.
	Log bool
}

// A Network is a set of nodes in one test. Make it with [Run] or [Loopback]. Its methods
// are for the goroutine of the test. They fail the test when they cannot do what they say.
type Network struct {
	t      testing.TB
	medium medium
	o      Options
	nodes  []*node.Node
	addrs  []netip.AddrPort // by node: the address that others see
	nats   int
}

// A medium carries the packets of a network.
type medium interface {
	// listen opens the socket of the i-th node and returns it with its address.
	listen(i int) (net.PacketConn, netip.AddrPort, error)
	kill(at netip.AddrPort)
	// partition cuts off the groups from one another and from all others. Without
	// groups it heals the network.
	partition(groups ...[]netip.AddrPort)
	setLoss(share float64)
}

func newNetwork(t testing.TB, m medium, o Options) *Network {
	m.setLoss(o.Loss)
	return &Network{t: t, medium: m, o: o}
}

// Add starts one more node, joined through the first, and returns it. Config of [Options]
// does not apply to it. Key, PacketConns, Listen and Bootstrap are set where they are empty.
func (n *Network) Add(c node.Config) *node.Node {
	n.t.Helper()
	conn, at, err := n.medium.listen(len(n.nodes))
	if err != nil {
		n.t.Fatalf("nodetest: node %d: %v", len(n.nodes), err)
	}
	return n.add(c, conn, at)
}

func (n *Network) add(c node.Config, conn net.PacketConn, at netip.AddrPort) *node.Node {
	n.t.Helper()
	i := len(n.nodes)
	c.PacketConns = []net.PacketConn{conn}
	if c.Key == nil {
		c.Key = n.key(i)
	}
	if c.Bootstrap == nil {
		c.Bootstrap = n.Bootstrap()
	}
	if c.Logger == nil && n.o.Log {
		c.Logger = slog.New(slog.NewTextHandler(n.t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", i)
	}
	made, err := node.New(c)
	if err != nil {
		conn.Close()
		n.t.Fatalf("nodetest: node %d: %v", i, err)
	}
	n.nodes, n.addrs = append(n.nodes, made), append(n.addrs, at)
	ctx, cancel := context.WithTimeout(n.t.Context(), joinTimeout)
	defer cancel()
	if err := made.Start(ctx); err != nil {
		n.t.Fatalf("nodetest: node %d: %v", i, err)
	}
	return made
}

// key returns the identity of the i-th node.
func (n *Network) key(i int) ed25519.PrivateKey {
	var seed [ed25519.SeedSize]byte
	binary.BigEndian.PutUint64(seed[:], n.o.Seed)
	binary.BigEndian.PutUint64(seed[8:], uint64(i)+1)
	return ed25519.NewKeyFromSeed(seed[:])
}

// Node returns the i-th node, in the order in which they were started.
func (n *Network) Node(i int) *node.Node { return n.nodes[i] }

// Nodes returns all nodes, in the order in which they were started, those that were killed
// or closed too.
func (n *Network) Nodes() []*node.Node { return slices.Clone(n.nodes) }

// Bootstrap returns the address of the first node, for a Config of the test's own. It is
// empty while there is none.
func (n *Network) Bootstrap() []ma.Multiaddr {
	if len(n.nodes) == 0 {
		return nil
	}
	at := n.addrs[0]
	return []ma.Multiaddr{wire.JoinPeer(wire.AddrFrom(at), n.nodes[0].ID())}
}

// Kill cuts a node off permanently, as a crash or a pulled cable does: it says no goodbye, so
// its peers have to find out. The node itself goes on, alone, until the test ends.
func (n *Network) Kill(dead *node.Node) {
	n.t.Helper()
	n.medium.kill(n.addrOf(dead))
}

// Partition cuts the network into the given groups of nodes and one more of all others, in
// place of an earlier partition. Packets from one group to another vanish.
func (n *Network) Partition(groups ...[]*node.Node) {
	n.t.Helper()
	at := make([][]netip.AddrPort, len(groups))
	for i, g := range groups {
		for _, member := range g {
			at[i] = append(at[i], n.addrOf(member))
		}
	}
	n.medium.partition(at...)
}

// Heal ends a partition.
func (n *Network) Heal() { n.medium.partition() }

// SetLoss changes the share of packets that are lost, from 0 to 1.
func (n *Network) SetLoss(share float64) { n.medium.setLoss(share) }

func (n *Network) addrOf(one *node.Node) netip.AddrPort {
	n.t.Helper()
	i := slices.Index(n.nodes, one)
	if i < 0 {
		n.t.Fatalf("nodetest: node %s is not of this network", one.ID())
	}
	return n.addrs[i]
}

// start adds the nodes that the network begins with.
func (n *Network) start(count int) {
	n.t.Helper()
	for range count {
		n.Add(n.o.Config)
	}
}

func (n *Network) close() {
	for _, one := range n.nodes {
		one.Close()
	}
}
