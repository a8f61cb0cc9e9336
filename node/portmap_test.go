package node

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/internal/portmap"
	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/wire"
)

// A mapped address is announced only after peers have connected to it, or see the node there.
func TestMappedAddressesAreTriedFirst(t *testing.T) {
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		n := s.nodes[0]
		mapped := netip.MustParseAddrPort("93.184.216.34:4774")
		addr := wire.AddrFrom(mapped)
		says := func() bool { return slices.Contains(n.addrs(), addr) }
		knows := func() (a OwnAddr) {
			for _, a = range n.Reachability().Addrs {
				if a.Addr == addr {
					return a
				}
			}
			return OwnAddr{}
		}
		peers := []*talk{s.stranger(0).meet(n), s.stranger(1).meet(n)}
		if n.self.MappedTo(1, mapped); says() {
			t.Error("the router is believed")
		}
		if a := knows(); !a.Mapped || a.Told || a.Votes != 0 {
			t.Errorf("it knows %+v", a)
		}
		for _, k := range peers {
			k.send(wire.Frame{Body: wire.Observed{Addr: addr}})
			k.ask(wire.Ping{})
		}
		if a := knows(); !says() || !a.Mapped || !a.Told || a.Votes != 2 {
			t.Errorf("two see it there: %+v", a)
		}

		other := netip.MustParseAddrPort("93.184.216.34:4775")
		addr = wire.AddrFrom(other)
		n.self.MappedTo(1, other)
		n.self.OnInbound(reach.Entry{From: ipv4(9, 9, 9, 9), At: other, Fresh: true, Unsolicited: true}, time.Now())
		if a := knows(); !says() || a.Reach != ReachYes {
			t.Errorf("somebody came in there: %+v", a)
		}
		if n.self.MappedTo(1, netip.AddrPort{}); says() {
			t.Error("the mapping is gone, and told still")
		}
	})
}

// Behind a carrier's NAT the router has no public address: that is noted, not told.
func TestPrivateMappings(t *testing.T) {
	for outside, want := range map[string]string{
		"93.184.216.34:4774": "",
		"100.64.1.2:4774":    "another NAT",
		"192.168.0.2:4774":   "another NAT",
	} {
		at := netip.MustParseAddrPort(outside)
		p := portMapping(portmap.State{Mapping: portmap.Mapping{Outside: at, Protocol: portmap.UPnP}})
		if p.Outside != at || p.Protocol != "UPnP" || p.Why != want && (want == "" || !strings.Contains(p.Why, want)) {
			t.Errorf("%s: %+v", outside, p)
		}
		s := reach.New(reach.Config{})
		s.MappedTo(4774, at)
		if got := len(s.Candidates(time.Now())) == 1; got != (want == "") {
			t.Errorf("%s is a candidate: %v", outside, got)
		}
	}
}

// The sockets that get a port mapping.
func TestSocketsThatAreMapped(t *testing.T) {
	defer func(before func(portmap.Config) *portmap.Mapper) { newMapper = before }(newMapper)
	for _, c := range []struct {
		config Config
		listen string
		want   bool
	}{
		{Config{}, "", true},
		{Config{}, "/ip4/0.0.0.0/udp/0/quic-v1", true},
		{Config{}, "/ip4/127.0.0.1/udp/0/quic-v1", false},
		{Config{}, "/ip6/::1/udp/0/quic-v1", false},
		{Config{Mode: ModeClient}, "", false},
		{Config{NoPortMapping: true}, "", false},
	} {
		var asked []portmap.Config
		newMapper = func(p portmap.Config) *portmap.Mapper {
			asked = append(asked, p)
			return portmap.New(p)
		}
		if c.listen != "" {
			c.config.Listen = []ma.Multiaddr{ma.StringCast(c.listen)}
		}
		n, err := New(c.config)
		if err != nil {
			t.Fatal(err)
		}
		if err := n.open(); err != nil { // and no task runs
			t.Skip(err)
		}
		if got := len(asked) == 1; got != c.want || got && asked[0].Port != n.self.Listening()[0].Port() {
			t.Errorf("%+v at %q: asks for %v", c.config.Mode, c.listen, asked)
		}
		if p := n.PortMappings(); len(p) != len(asked) || c.want && p[0].Why != "the router has not been asked yet" {
			t.Errorf("at %q it says %+v", c.listen, p)
		}
		n.Close()
	}
}
