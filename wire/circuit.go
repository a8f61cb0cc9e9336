package wire

import (
	"fmt"

	ma "github.com/multiformats/go-multiaddr"
)

// A Circuit is an address of a peer by way of a relay: for people, and never on
// the wire. In text it is the relay's full address, /p2p-circuit, and the peer:
//
//	/ip4/192.0.2.7/udp/4774/quic-v1/p2p/12D3KooW…/p2p-circuit/p2p/12D3KooW…
type Circuit struct {
	Addr        Addr // of the relay; "" if it has to be found
	Relay, Peer PeerID
}

var circuitComponent = func() ma.Component {
	c, err := ma.NewComponent("p2p-circuit", "")
	if err != nil {
		panic("wire: multiaddrs have no p2p-circuit: " + err.Error())
	}
	return *c
}()

// IsCircuit reports whether the address goes by way of a relay.
func IsCircuit(m ma.Multiaddr) bool {
	for i := range m {
		if m[i].Code() == ma.P_CIRCUIT {
			return true
		}
	}
	return false
}

// ParseCircuit takes apart an address by way of one relay, which must name both
// the relay and the peer. The error wraps ErrAddr or ErrPeerID.
func ParseCircuit(m ma.Multiaddr) (Circuit, error) {
	for i := range m {
		if m[i].Code() != ma.P_CIRCUIT {
			continue
		}
		addr, relay, err := SplitPeer(m[:i])
		if err != nil {
			return Circuit{}, err
		}
		rest, peer, err := SplitPeer(m[i+1:])
		if err != nil {
			return Circuit{}, err
		}
		if relay.IsZero() || peer.IsZero() || rest != "" {
			return Circuit{}, fmt.Errorf("address %q by a relay names not both: it must be /p2p/RELAY/p2p-circuit/p2p/PEER: %w", m.String(), ErrAddr)
		}
		return Circuit{addr, relay, peer}, nil
	}
	return Circuit{}, fmt.Errorf("address %q goes by no relay: %w", m.String(), ErrAddr)
}

// Multiaddr returns the address. Relay and Peer must not be zero.
func (c Circuit) Multiaddr() ma.Multiaddr {
	var m ma.Multiaddr
	if c.Addr != "" {
		m = c.Addr.Multiaddr()
	}
	return append(append(append(m, c.Relay.component()), circuitComponent), c.Peer.component())
}
