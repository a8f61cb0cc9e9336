package node

import (
	"net"
	"net/netip"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/wire"
)

// Two nodes with IPv4 and IPv6 that have met by one family find out that the other works,
// too, so that they name one another to peers that have only that one.
func TestContactsAreProvedByBothFamilies(t *testing.T) {
	inAskingSwarm(t, 0, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, a *askers) {
		six := func(i int) netip.AddrPort {
			return netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x26, 1, 4: byte(i), 15: 1}), 4774)
		}
		both := func(i int) []net.PacketConn {
			return []net.PacketConn{a.net.Listen(host(i)), a.net.Listen(six(i))}
		}
		first := a.add(Config{PacketConns: both(0), Bootstrap: []ma.Multiaddr{}})
		second := a.add(Config{PacketConns: both(1), Bootstrap: []ma.Multiaddr{wire.JoinPeer(wire.AddrFrom(six(0)), first.ID())}})
		knows := func(n, peer *Node, at netip.AddrPort) bool {
			for _, v := range n.peers.AppendVerified(nil, peer.ID()) {
				if v == wire.AddrFrom(at) {
					return true
				}
			}
			return false
		}
		if c, ok := second.pool.Lookup(publicKey(first.ID())); !ok || !c.RemoteAddr().Addr().Is6() {
			t.Fatal("they have not met by IPv6")
		}
		await(t, 10*time.Second, "the second has proved the first's IPv4 address", func() bool { return knows(second, first, host(0)) })
		third := a.add(Config{PacketConns: []net.PacketConn{a.net.Listen(host(2))}, Bootstrap: []ma.Multiaddr{wire.JoinPeer(wire.AddrFrom(host(1)), second.ID())}})
		p, err := third.FindPeer(within(t, time.Minute), first.ID())
		if err != nil {
			t.Fatal(err)
		}
		if !knows(third, first, host(0)) {
			t.Errorf("a node with IPv4 alone, which joined through the second, has not met the first: %v", p.Addrs)
		}
	})
}
