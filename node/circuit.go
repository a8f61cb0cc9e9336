package node

import (
	"fmt"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/peerstore"
	"github.com/kadquic/kadquic/wire"
)

// AddAddr records an address of a peer, without connecting to it, and returns the
// peer's ID. The address must end in /p2p/ID; it may go through a relay:
// /…/p2p/RELAY/p2p-circuit/p2p/ID.
func (n *Node) AddAddr(addr ma.Multiaddr) (wire.PeerID, error) {
	now := time.Now()
	if !wire.IsCircuit(addr) {
		t, err := splitTarget(addr)
		if err != nil {
			return wire.PeerID{}, err
		}
		if t.ID != n.id {
			n.addAddrs(t.ID, peerstore.SourceUser, now, 0, t.Addr)
		}
		return t.ID, nil
	}
	c, err := wire.ParseCircuit(addr)
	if err != nil {
		return wire.PeerID{}, err
	}
	if c.Relay == c.Peer {
		return wire.PeerID{}, fmt.Errorf("address %q: a peer is no relay for itself: %w", addr, wire.ErrAddr)
	}
	if c.Peer == n.id || c.Relay == n.id {
		return c.Peer, nil
	}
	if c.Addr != "" {
		n.addAddrs(c.Relay, peerstore.SourceUser, now, 0, c.Addr)
		n.backoff.Clear(c.Relay)
	}
	n.relays.Learn(c.Peer, c.Relay)
	n.wanted.Tell(c.Peer)
	return c.Peer, nil
}

// RelayInfo is a relay that holds a reservation of the node: peers reach the node through it.
type RelayInfo struct {
	ID      wire.PeerID
	Addr    wire.Addr     // of the relay
	RTT     time.Duration // to it
	Since   time.Time
	Expires time.Time // unless it is renewed, as it is long before
}

// Relays returns the relays that hold a reservation of the node, the oldest first.
func (n *Node) Relays() []RelayInfo {
	var all []RelayInfo
	for _, r := range n.relays.Reservations() {
		all = append(all, RelayInfo{ID: r.Relay, Addr: r.Addr, RTT: r.RTT, Since: r.Since, Expires: r.Expires})
	}
	return all
}

// circuits returns the node's own addresses through its relays.
func (n *Node) circuits() (all []ma.Multiaddr) {
	for _, r := range n.Relays() {
		for _, a := range n.relayAddrs(r) {
			all = append(all, wire.Circuit{Addr: a, Relay: r.ID, Peer: n.id}.Multiaddr())
		}
	}
	return all
}

// relayAddrs returns the address of a relay at which this node is connected to it, and
// one of the other family, if the relay has one: a caller may lack a family that this
// node has.
func (n *Node) relayAddrs(r RelayInfo) []wire.Addr {
	addrs := []wire.Addr{r.Addr}
	others := n.peers.AppendVerified(nil, r.ID)
	if record := n.peers.Record(r.ID); record != nil && n.search.Verify(record, time.Now()) == nil {
		if info, err := record.Record.PeerInfo(); err == nil {
			others = append(others, info.Addrs...)
		}
	}
	for _, a := range others {
		if ip := ipOf(a); reach.ScopeOf(ip) == reach.ScopeGlobal && ip.Is4() != ipOf(r.Addr).Is4() {
			return append(addrs, a)
		}
	}
	return addrs
}
