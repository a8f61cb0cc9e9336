package nodetest

import (
	"net"
	"net/netip"
	"testing"
	"testing/synctest"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/node"
)

// Run runs test with a network of count nodes, which have joined through the first, in
// virtual time (testing/synctest). When test returns the nodes and the network are closed.
// Each node has a public address in a separate IPv4 /24, unless it is behind a [NAT].
func Run(t *testing.T, count int, o Options, test func(t *testing.T, net *Network)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		sim := simnet.New(simnet.Options{Delay: o.Delay, Jitter: o.Jitter, Seed: o.Seed})
		defer sim.Close()
		n := newNetwork(t, virtual{sim}, o)
		defer n.close()
		n.start(count)
		test(t, n)
	})
}

// virtual is the medium of [Run].
type virtual struct{ net *simnet.Network }

func (v virtual) listen(i int) (net.PacketConn, netip.AddrPort, error) {
	at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{25, byte(i >> 8), byte(i), 1}), 4774)
	return v.net.Listen(at), at, nil
}

func (v virtual) kill(at netip.AddrPort) { v.net.Kill(at) }

func (v virtual) partition(groups ...[]netip.AddrPort) {
	if len(groups) == 0 {
		v.net.Heal()
		return
	}
	v.net.Partition(groups...)
}

func (v virtual) setLoss(share float64) { v.net.SetLoss(share) }

// A NAT is a router with one public address, behind which nodes are. Make it with
// [Network.NAT].
type NAT struct {
	net   *Network
	nat   *simnet.NAT
	index int
	hosts int
}

// NAT adds a NAT to a network of [Run]. Its filtering depends on address and port. Its
// mapping is independent of the endpoint, or, if symmetric, depends on address and port
// (RFC 4787), so that a peer learns the port only by searching for it.
func (n *Network) NAT(symmetric bool) *NAT {
	n.t.Helper()
	v, ok := n.medium.(virtual)
	if !ok {
		n.t.Fatal("nodetest: NATs are simulated: use Run")
	}
	n.nats++
	outside := netip.AddrFrom4([4]byte{26, byte(n.nats >> 8), byte(n.nats), 1})
	return &NAT{net: n, nat: v.net.NAT(outside, symmetric), index: n.nats}
}

// Add starts one more node behind the NAT, as [Network.Add] does.
func (nat *NAT) Add(c node.Config) *node.Node {
	nat.net.t.Helper()
	nat.hosts++
	inside := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(nat.index >> 8), byte(nat.index), byte(nat.hosts)}), 4774)
	return nat.net.add(c, nat.nat.Listen(inside), inside)
}

// Reboot makes the NAT forget all its mappings. Later ones have other ports.
func (nat *NAT) Reboot() { nat.nat.Reset() }
