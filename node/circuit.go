package node

import (
	"fmt"
	"slices"
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
	n.relays.learn(c.Peer, c.Relay)
	n.wanted.Tell(c.Peer)
	return c.Peer, nil
}

func (rs *relays) learn(peer, by wire.PeerID) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	known := slices.DeleteFunc(slices.Clone(rs.learned[peer]), func(id wire.PeerID) bool { return id == by })
	if len(known) == 0 && len(rs.learned) >= maxLearned {
		for old := range rs.learned { // any entry
			delete(rs.learned, old)
			break
		}
	}
	known = slices.Insert(known, 0, by)
	rs.learned[peer] = known[:min(len(known), wire.MaxRelays)]
}

// relaysOf returns the known relays through which a peer may be reached: relays named in
// the peer's own record, if this node has it, and relays that the user gave. Relays to
// which this node is connected come first: a call through another takes a handshake longer.
func (n *Node) relaysOf(id wire.PeerID) []wire.PeerID {
	var all []wire.PeerID
	if r := n.recordOf(id, time.Now()); r != nil {
		if info, err := r.Record.PeerInfo(); err == nil {
			all = append(all, info.Relays...)
		}
	}
	n.relays.mu.Lock()
	all = append(all, n.relays.learned[id]...)
	n.relays.mu.Unlock()
	var unique []wire.PeerID
	for _, by := range all {
		if by != n.id && by != id && !slices.Contains(unique, by) {
			unique = append(unique, by)
		}
	}
	near := func(by wire.PeerID) bool {
		_, ok := n.pool.Lookup(publicKey(by))
		return ok
	}
	slices.SortStableFunc(unique, func(a, b wire.PeerID) int { return compareBool(near(b), near(a)) })
	return unique
}

// circuits returns the node's own addresses through its relays.
func (n *Node) circuits() []ma.Multiaddr {
	var all []ma.Multiaddr
	for _, r := range n.Relays() {
		all = append(all, n.circuitsOf(r)...)
	}
	return all
}

// circuitsOf returns the node's own addresses through one of its relays.
func (n *Node) circuitsOf(r RelayInfo) (all []ma.Multiaddr) {
	for _, a := range n.relayAddrs(r) {
		all = append(all, wire.Circuit{Addr: a, Relay: r.ID, Peer: n.id}.Multiaddr())
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

// compareBool orders false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
