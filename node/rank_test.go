package node

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/internal/swarm"
	"github.com/kadquic/kadquic/peerstore"
	"github.com/kadquic/kadquic/wire"
)

// bridges returns addresses of a host's containers, which no peer reaches.
func bridges() (all []netip.AddrPort) {
	for i := range 10 {
		all = append(all, netip.MustParseAddrPort(fmt.Sprintf("172.%d.0.1:4774", 17+i)))
	}
	return all
}

// Of many addresses that a ticket or record names, those that are dialled are the ones
// that this machine is likely to reach, in whatever order they were named.
func TestFewAddressesAreDialledOfMany(t *testing.T) {
	lan := netip.MustParseAddrPort("192.168.7.1:4774")
	v6, public := netip.MustParseAddrPort("[2600::1]:4774"), netip.MustParseAddrPort("25.1.2.3:4774")
	id := idOf(testKey(7))
	for _, from := range []peerstore.Source{peerstore.SourceUser, peerstore.SourceRecord, peerstore.SourceTold} {
		for range 5 {
			n, err := New(Config{})
			if err != nil {
				t.Fatal(err)
			}
			n.self = reach.New(reach.Config{Machine: func() []reach.Interface {
				return []reach.Interface{{Prefix: netip.MustParsePrefix("192.168.7.2/24"), Default: true}}
			}})
			n.self.ListensOn(netip.MustParseAddrPort("[::]:4774"))
			n.addrs() // which asks the machine
			all := append(bridges(), lan)
			if from == peerstore.SourceTold { // as the store keeps 16
				all = append(all, public, v6)
			}
			shuffle(all)
			for _, a := range all {
				n.peers.Add(id, from, time.Now(), 0, wire.AddrFrom(a))
			}
			got := n.dialAddrs(id)
			if got[0] != wire.AddrFrom(lan) {
				t.Errorf("%v: dialled first: %v, want the LAN's", from, got)
			}
			if from == peerstore.SourceTold && !slices.Contains(got[:swarm.MaxDialAddrs], wire.AddrFrom(public)) {
				t.Errorf("dialled: %v, want the public one among them", got[:swarm.MaxDialAddrs])
			}
			n.Close()
		}
	}
}

// A ticket names the best address first, and is believed.
func TestATicketsOrderIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // whose clock stands still
		n, err := New(Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		var want []wire.Addr
		for i := range 4 {
			a := wire.AddrFrom(host(i))
			want = append(want, a)
			time.Sleep(time.Microsecond)
			if _, err := n.AddAddr(wire.JoinPeer(a, idOf(testKey(7)))); err != nil {
				t.Fatal(err)
			}
		}
		if got := n.dialAddrs(idOf(testKey(7))); !slices.Equal(got, want) {
			t.Errorf("dialled in the order %v, want %v", got, want)
		}
	})
}
