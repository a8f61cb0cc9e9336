package node

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/internal/simnet"
)

func TestPlanSockets(t *testing.T) {
	at := netip.MustParseAddrPort
	both := socketPlan{at: at("[::]:7")}
	for _, c := range []struct {
		asked []netip.AddrPort
		want  []socketPlan
	}{
		{nil, []socketPlan{{}}},
		{[]netip.AddrPort{at("[::]:7")}, []socketPlan{both}},
		{[]netip.AddrPort{at("0.0.0.0:7")}, []socketPlan{{at: at("0.0.0.0:7")}}},
		{[]netip.AddrPort{at("0.0.0.0:7"), at("[::]:7")}, []socketPlan{both}},
		{[]netip.AddrPort{at("[::]:7"), at("0.0.0.0:7")}, []socketPlan{both}},
		{[]netip.AddrPort{at("0.0.0.0:7"), at("[::]:8")}, []socketPlan{{at: at("0.0.0.0:7")}, {at: at("[::]:8")}}},
		{[]netip.AddrPort{at("[::]:7"), at("127.0.0.1:7")}, []socketPlan{{at("[::]:7"), true}, {at: at("127.0.0.1:7")}}},
		{[]netip.AddrPort{at("127.0.0.1:7"), at("[::]:7")}, []socketPlan{{at: at("127.0.0.1:7")}, {at("[::]:7"), true}}},
		{[]netip.AddrPort{at("127.0.0.1:0"), at("[::]:0")}, []socketPlan{{at: at("127.0.0.1:0")}, {at: at("[::]:0")}}},
		{[]netip.AddrPort{at("0.0.0.0:7"), at("[::1]:7")}, []socketPlan{{at: at("0.0.0.0:7")}, {at: at("[::1]:7")}}},
	} {
		if got := planSockets(c.asked); !slices.Equal(got, c.want) {
			t.Errorf("for %v: %v, want %v", c.asked, got, c.want)
		}
	}
}

// A node serves both families on one port, in whichever order the two addresses are
// given, and tells no IPv4 address of a socket that serves IPv6 only.
func TestListensOnOnePortByBothFamilies(t *testing.T) {
	t.Parallel()
	if l, err := net.ListenPacket("udp6", "[::1]:0"); err != nil {
		t.Skipf("no IPv6 here: %v", err)
	} else {
		l.Close()
	}
	for _, four := range []string{"0.0.0.0", "127.0.0.1"} {
		for _, first4 := range []bool{true, false} {
			port := freePort(t)
			listen := []ma.Multiaddr{
				ma.StringCast(fmt.Sprintf("/ip4/%s/udp/%d/quic-v1", four, port)),
				ma.StringCast(fmt.Sprintf("/ip6/::/udp/%d/quic-v1", port)),
			}
			if !first4 {
				slices.Reverse(listen)
			}
			server := startOnMachine(t, Config{Listen: listen})
			if four != "0.0.0.0" {
				for _, p := range server.reachCandidates() {
					if p.At.Addr().Is4() && reach.ScopeOf(p.At.Addr()) != reach.ScopeLoopback {
						t.Errorf("%v: it tells %v, where it does not listen", listen, p.At)
					}
				}
			}
			for _, host := range []string{"/ip4/127.0.0.1", "/ip6/::1"} {
				client := startOnMachine(t, Config{Mode: ModeClient})
				to := ma.StringCast(fmt.Sprintf("%s/udp/%d/quic-v1/p2p/%s", host, port, server.ID()))
				if _, err := client.Connect(within(t, 10*time.Second), to); err != nil {
					t.Errorf("%v: %v", listen, err)
				}
				client.Close()
			}
			server.Close()
		}
	}
}

// A port that is taken is named with the address that was asked for.
func TestListenErrorNamesTheAddress(t *testing.T) {
	t.Parallel()
	taken, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.LocalAddr().(*net.UDPAddr).Port
	for listen, names := range map[string]string{
		fmt.Sprintf("/ip6/::/udp/%d/quic-v1", port):        fmt.Sprintf("[::]:%d", port),
		fmt.Sprintf("/ip4/0.0.0.0/udp/%d/quic-v1", port):   fmt.Sprintf("0.0.0.0:%d", port),
		fmt.Sprintf("/ip4/127.0.0.1/udp/%d/quic-v1", port): fmt.Sprintf("127.0.0.1:%d", port),
	} {
		n, err := New(Config{Listen: []ma.Multiaddr{ma.StringCast(listen)}, NoPortMapping: true})
		if err != nil {
			t.Fatal(err)
		}
		err = n.Start(t.Context())
		if err == nil {
			n.Close()
			t.Errorf("%s: no error", listen)
			continue
		}
		if text := err.Error(); !strings.Contains(text, names) {
			t.Errorf("%s: %q does not name %s", listen, text, names)
		}
	}
}

func startOnMachine(t *testing.T, c Config) *Node {
	t.Helper()
	c.NoPortMapping = true
	n, err := New(c)
	if err == nil {
		err = n.Start(within(t, 10*time.Second))
	}
	if err != nil {
		t.Fatalf("listen at %v: %v", c.Listen, err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// freePort returns a UDP port that no socket of the machine uses.
func freePort(t *testing.T) uint16 {
	t.Helper()
	l, err := net.ListenPacket("udp", "[::]:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return uint16(l.LocalAddr().(*net.UDPAddr).Port)
}

// Calls use the socket of the widest scope, wherever it stands in the list.
func TestCallsUseTheSocketOfWidestScope(t *testing.T) {
	for _, order := range [][]string{
		{"127.0.0.1", "192.168.1.5", "203.0.113.5"}, {"::1", "fd00::5", "2601::5"}, {"192.168.1.5", "2601::5"}, {"203.0.113.5", "0.0.0.0", "::"},
	} {
		for i := 1; i < len(order); i++ {
			less, more := netip.MustParseAddr(order[i-1]), netip.MustParseAddr(order[i])
			if socketRank(less, false) >= socketRank(more, false) {
				t.Errorf("%v is preferred to %v", less, more)
			}
		}
	}
	inSwarm(t, 0, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		at := func(a string) net.PacketConn { return s.net.Listen(netip.MustParseAddrPort(a)) }
		n := s.add(Config{PacketConns: []net.PacketConn{at("127.0.0.1:4774"), at("203.0.113.5:4774"), at("203.0.113.6:4774")}})
		if n.callSocket() != n.transports[1] {
			t.Errorf("calls use %v", n.callSocket().LocalAddr())
		}
	})
}
