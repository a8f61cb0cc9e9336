package wire

import (
	"errors"
	"testing"

	ma "github.com/multiformats/go-multiaddr"
)

func TestCircuit(t *testing.T) {
	relay, peer := idOf(alice), idOf(bob)
	for _, c := range []struct {
		circuit Circuit
		text    string
	}{
		{Circuit{addr4(7, 4774), relay, peer}, "/ip4/192.0.2.7/udp/4774/quic-v1/p2p/" + relay.String() + "/p2p-circuit/p2p/" + peer.String()},
		{Circuit{addrDNS, relay, peer}, "/dns/node.example.com/udp/4774/quic-v1/p2p/" + relay.String() + "/p2p-circuit/p2p/" + peer.String()},
		{Circuit{"", relay, peer}, "/p2p/" + relay.String() + "/p2p-circuit/p2p/" + peer.String()},
	} {
		m := c.circuit.Multiaddr()
		if m.String() != c.text || !IsCircuit(m) {
			t.Errorf("got %s, want %s", m, c.text)
		}
		if got, err := ParseCircuit(ma.StringCast(c.text)); err != nil || got != c.circuit {
			t.Errorf("%s is %+v, %v", c.text, got, err)
		}
	}
	for _, bad := range []string{
		"/ip4/192.0.2.7/udp/4774/quic-v1/p2p/" + relay.String(),
		"/ip4/192.0.2.7/udp/4774/quic-v1/p2p-circuit/p2p/" + peer.String(),
		"/p2p/" + relay.String() + "/p2p-circuit",
		"/p2p-circuit/p2p/" + peer.String(),
		"/ip4/192.0.2.7/tcp/4774/p2p/" + relay.String() + "/p2p-circuit/p2p/" + peer.String(),
		"/p2p/" + relay.String() + "/p2p-circuit/ip4/192.0.2.7/udp/1/quic-v1/p2p/" + peer.String(),
		"/p2p/" + relay.String() + "/p2p-circuit/p2p/" + relay.String() + "/p2p-circuit/p2p/" + peer.String(),
	} {
		if got, err := ParseCircuit(ma.StringCast(bad)); !errors.Is(err, ErrAddr) && !errors.Is(err, ErrPeerID) {
			t.Errorf("%s is %+v, %v", bad, got, err)
		}
	}
	if IsCircuit(nil) || IsCircuit(JoinPeer(addr6, peer)) {
		t.Error("an address without a relay goes by one")
	}
}
