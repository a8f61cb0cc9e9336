package ticket

import (
	"net/netip"

	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/wire"
)

// wantedRelays is how many relays a ticket names, each at an address of each family. When one
// has died the other will do.
const wantedRelays = 2

// A Relay holds a reservation of the node.
type Relay struct {
	ID    wire.PeerID
	Addrs []wire.Addr // one, or one of each family; at the first this node is connected to it
}

// network returns the network that fails as one.
func (r Relay) network() netip.Prefix { return reach.NetworkOf(ip(r.Addrs[0])) }

// ip returns the IP address of addr, the zero Addr if it names a host.
func ip(addr wire.Addr) netip.Addr {
	ap, _ := addr.AddrPort()
	return ap.Addr()
}

// families counts the address families of relays.
func families(relays ...Relay) int {
	has := make(map[bool]bool)
	for _, r := range relays {
		for _, a := range r.Addrs {
			has[ip(a).Is4()] = true
		}
	}
	return len(has)
}

// choose returns the relays that a ticket names: of two networks, if there are two, and if need
// be the one that is the only one with an address of a family.
func choose(relays []Relay) []Relay {
	var best []Relay
	worth := -1
	for i, a := range relays {
		if worth < 0 {
			best, worth = []Relay{a}, 0
		}
		for _, b := range relays[i+1:] {
			w := 2 * families(a, b)
			if a.network() != b.network() {
				w += 3
			}
			if w > worth {
				best, worth = []Relay{a, b}, w
			}
		}
	}
	return best
}

// areEnough reports whether relays are in two networks and reachable by both address families.
func areEnough(relays []Relay) bool {
	chosen := choose(relays)
	return len(chosen) >= wantedRelays && chosen[0].network() != chosen[1].network() && families(chosen...) == 2
}
