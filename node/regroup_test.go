package node

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/peerref"
	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// tableOf returns a table into which contacts with these addresses were offered, one key each.
func tableOf(addrs []string) *routes {
	var refs peerref.Refs
	r := newRoutes(routing.KeyOf("self"), 20, func(contact) {})
	for i, a := range addrs {
		ref := refs.Of(idOf(testKey(i)))
		ref.SetAddrs([]wire.Addr{wire.AddrFrom(netip.AddrPortFrom(netip.MustParseAddr(a), 4774))})
		r.Seen(ref.Contact(), time.Now())
	}
	return r
}

// Addresses that stand for others, and those of carriers, are no way around the limits of the
// table per network.
func TestTableLimitsEveryKindOfAddress(t *testing.T) {
	for name, c := range map[string]struct {
		format string
		most   int
	}{
		"one IPv4 /24":                 {"41.1.1.%d", 5},
		"one IPv6 /64":                 {"2a00:1:1:1::%x", 2},
		"one IPv6 /48":                 {"2a00:1:1:%x::1", 10},
		"6to4 of one host":             {"2002:2901:0101:%x::1", 0},
		"Teredo":                       {"2001:0:102:304:0:1234:d6fe:fe%02x", 0},
		"NAT64":                        {"64:ff9b::41.1.1.%d", 0},
		"one carrier address":          {"100.64.1.1", 2},
		"addresses of a carrier":       {"100.64.1.%d", 200},
		"machines of a house":          {"192.168.1.%d", 200},
		"machines of a house, IPv6":    {"fd00:1:1:1::%x", 200},
		"IPv4 networks":                {"41.%d.1.1", 200},
		"the same as 6to4 in disguise": {"2002:29%02x:0101::1", 0},
	} {
		var addrs []string
		for i := range 200 {
			a := c.format
			if a != "100.64.1.1" {
				a = fmt.Sprintf(c.format, i)
			}
			addrs = append(addrs, a)
		}
		got := tableOf(addrs).Len()
		if c.most < 200 && got > c.most || c.most == 200 && got < 60 {
			t.Errorf("%s: %d of 200 are in the table, want at most %d", name, got, c.most)
		}
	}
}

// Identities that enter the table from many networks and then move to one address do not stay.
func TestContactsThatMoveTogetherAreDropped(t *testing.T) {
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		n := s.nodes[0]
		move := func(i int, to netip.AddrPort) {
			x := s.strangerAt(i, to)
			k := x.meet(n)
			time.Sleep(time.Second)
			k.conn.Close(wire.CloseIdle, "")
			time.Sleep(time.Second)
			x.Close()
		}
		const movers = 20
		for i := range movers {
			move(i, netip.AddrPortFrom(netip.AddrFrom4([4]byte{41, byte(i), 1, 1}), 4774))
		}
		if got := n.routes.Len(); got < movers/2 {
			t.Fatalf("%d of %d contacts of different networks are in the table", got, movers)
		}
		for i := range movers {
			move(i, netip.AddrPortFrom(netip.AddrFrom4([4]byte{42, 1, 1, 1}), uint16(5000+i)))
		}
		at := 0
		for _, ref := range n.routes.Refs() {
			if ap, ok := ref.Addrs()[0].AddrPort(); ok && ap.Addr() == netip.AddrFrom4([4]byte{42, 1, 1, 1}) {
				at++
			}
		}
		if at > 5 {
			t.Errorf("%d contacts of the table are at one address, want at most 5", at)
		}
	})
}
