package node

import (
	"bytes"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// isGenuine reports whether a peer record verifies now.
func (n *Node) isGenuine(r *wire.Signed, now time.Time) bool {
	left := r.Record.Expiry.Sub(now)
	return left > 0 && left <= wire.MaxTTL+wire.MaxSkew && n.genuine.Verify(r)
}

// recordOf returns the peer record of a peer, if one is known that verifies now. The node neither passes on nor believes another.
func (n *Node) recordOf(id wire.PeerID, now time.Time) *wire.Signed {
	r := n.peers.Record(id)
	if r == nil || !n.isGenuine(r, now) {
		return nil
	}
	return r
}

// setRecord keeps the peer record that a peer has sent or others hold, which need not be
// verified. A newer one stays if it verifies: a forged record of a high sequence number, or
// one of a peer whose clock was wrong, cannot keep out later records. It reports whether r
// is kept and was not before.
func (n *Node) setRecord(id wire.PeerID, r *wire.Signed, now time.Time) bool {
	if n.peers.SetRecord(id, r) {
		return true
	}
	held := n.peers.Record(id)
	if held == nil || held.Signature == r.Signature && bytes.Equal(held.Payload, r.Payload) || n.isGenuine(held, now) {
		return false
	}
	n.peers.DropRecord(id, held)
	return n.peers.SetRecord(id, r)
}
