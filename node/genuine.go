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

// recordOf returns the peer record of a peer, or nil if none is known that verifies now.
// The node neither uses nor passes on a record that does not verify.
func (n *Node) recordOf(id wire.PeerID, now time.Time) *wire.Signed {
	r := n.peers.Record(id)
	if r == nil || !n.isGenuine(r, now) {
		return nil
	}
	return r
}

// setRecord keeps a peer record, received from the peer or from others, which need not be
// verified. A newer record that is held already stays only if it verifies, so that a
// forged record with a high sequence number, or one from a peer whose clock was wrong,
// cannot keep out later records. It reports whether r is kept and was not held before.
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
