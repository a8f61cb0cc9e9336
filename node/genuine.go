package node

import (
	"bytes"
	"crypto/sha256"
	"sync"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// maxGenuine bounds the verdicts remembered, at some 100 bytes each.
const maxGenuine = 4096

// A genuineCache remembers which peer records verify, so that the signature of each
// is checked once (50 µs), when somebody is first told of it, and not with each
// connection on which it comes. When it is full, the oldest verdict makes room. The
// zero value is empty; goroutines may share it.
type genuineCache struct {
	mu       sync.Mutex
	verdicts map[[sha256.Size]byte]bool
	order    [][sha256.Size]byte // a ring, once it is full
	oldest   int
	checks   int // signatures checked, for tests
}

// isGenuine reports whether r would verify while it lives. What it says about the
// time now is for the caller to see.
func (g *genuineCache) isGenuine(r *wire.Signed) bool {
	h := sha256.New()
	h.Write(r.Signature[:])
	h.Write(r.Payload)
	key := [sha256.Size]byte(h.Sum(nil))
	g.mu.Lock()
	verdict, ok := g.verdicts[key]
	g.mu.Unlock()
	if ok {
		return verdict
	}
	verdict = r.Verify(r.Record.Expiry.Add(-time.Millisecond)) == nil
	g.mu.Lock()
	defer g.mu.Unlock()
	g.checks++
	if _, ok := g.verdicts[key]; ok { // another goroutine was as fast
		return verdict
	}
	if g.verdicts == nil {
		g.verdicts = make(map[[sha256.Size]byte]bool)
	}
	g.verdicts[key] = verdict
	if len(g.order) < maxGenuine {
		g.order = append(g.order, key)
		return verdict
	}
	delete(g.verdicts, g.order[g.oldest])
	g.order[g.oldest] = key
	g.oldest = (g.oldest + 1) % maxGenuine
	return verdict
}

// isGenuine reports whether a peer record verifies now.
func (n *Node) isGenuine(r *wire.Signed, now time.Time) bool {
	left := r.Record.Expiry.Sub(now)
	return left > 0 && left <= wire.MaxTTL+wire.MaxSkew && n.genuine.isGenuine(r)
}

// recordOf returns the peer record of a peer, if one is known that verifies now. No
// other may be passed on, or believed.
func (n *Node) recordOf(id wire.PeerID, now time.Time) *wire.Signed {
	r := n.peers.Record(id)
	if r == nil || !n.isGenuine(r, now) {
		return nil
	}
	return r
}

// setRecord keeps the peer record that a peer has sent or others hold, which need
// not be verified. A better one stays, unless it is not genuine: nobody can keep out
// the records to come with a false one of a high sequence number, nor can a peer
// whose clock was wrong. It reports whether r is kept and was not before.
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
