package node

import "github.com/kadquic/kadquic/wire"

// called answers a call that a peer, c.Peer, makes to us by a relay, the peer of l.
func (n *Node) called(*link, wire.Call) (wire.Called, error) {
	return wire.Called{}, wire.CodeUnimplemented
}

// fuelCame takes in that a peer has sent so many bytes that only pay.
func (n *Node) fuelCame(wire.PeerID, int) {}
