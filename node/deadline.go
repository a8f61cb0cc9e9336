package node

import (
	"time"

	"github.com/kadquic/kadquic/wire"
)

// How long an operation waits for one peer. After the deadline of a query the
// lookup turns to another peer. Where there is no other, it waits on for the
// patience, in which QUIC sends again what was lost. Neither blames the peer:
// only a request that goes unanswered for Config.RPCTimeout does.
const (
	minTimeout = 20 * time.Millisecond

	// minWait is the least that deadline and patience amount to: a process on a
	// busy machine may not run for so long.
	minWait = 500 * time.Millisecond

	// A STORE is answered after an fsync: its allowance is added to the deadline
	// of another request.
	minStoreAllowance   = 50 * time.Millisecond
	firstStoreAllowance = 250 * time.Millisecond // while no STORE was measured
	minStoreTimeout     = 150 * time.Millisecond // in all

	// silentFor is how long a peer is taken to be silent after an operation has
	// waited for it in vain: until a request that it leaves unanswered has failed.
	silentFor = 10 * time.Second
)

// softTimeout returns the deadline of a query: what the round trips measured
// suggest (RFC 6298), and for a stranger those of the network and a handshake. A
// STORE has its allowance and the deviation once more, because it is not to be done
// twice lightly. A peer that has just kept silent is asked again, but holds no place.
func (n *Node) softTimeout(q query) time.Duration {
	ceiling := n.config.RPCTimeout
	if q.Addr.IsSilent(time.Now(), silentFor) {
		return min(minTimeout, ceiling)
	}
	var d time.Duration
	if l := n.linkWith(q.Addr.ID); l == nil {
		d = n.netRTT.Timeout(minTimeout, ceiling) + n.dialRTT.Timeout(minTimeout, ceiling)
	} else if rtt := l.rtt.Within(n.netRTT.Get()); rtt.Known() {
		d = rtt.Timeout(minTimeout, ceiling)
	} else {
		d = n.netRTT.Timeout(minTimeout, ceiling)
	}
	if q.Store {
		d = max(d+4*n.netRTT.Get().Deviation()+n.storeAllowance(), minStoreTimeout)
	}
	return min(d, ceiling)
}

// storeAllowance returns how much longer a STORE may take than another request,
// by those that peers have answered.
func (n *Node) storeAllowance() time.Duration {
	if extra := n.storeRTT.Get(); extra.Known() {
		return extra.Timeout(minStoreAllowance, n.config.RPCTimeout)
	}
	return firstStoreAllowance
}

// patience returns how long beyond its deadline a query is awaited where no other
// peer can take its place: twice the network's timeout, so that a packet lost each
// way costs nothing, and minWait in all. None is left for a peer that has just kept
// silent.
func (n *Node) patience(q query) time.Duration {
	if q.Addr.IsSilent(time.Now(), silentFor) {
		return 1
	}
	return max(2*n.netRTT.Timeout(minTimeout, n.config.RPCTimeout), minWait-n.softTimeout(q))
}

// linkWith returns the link to a peer, nil if it is not connected.
func (n *Node) linkWith(id wire.PeerID) *link {
	c, ok := n.pool.Lookup(publicKey(id))
	if !ok {
		return nil
	}
	return c.Value.(*link)
}

// observe takes the time into account that a peer took to answer m.
func (l *link) observe(m wire.Message, took time.Duration) {
	n := l.node
	switch m := m.(type) {
	case wire.Ping, wire.FindNode, wire.FindValue, wire.GetProviders:
		l.rtt.Observe(took)
		n.netRTT.Observe(took)
	case wire.Store:
		if rtt := l.rtt.Get(); len(m.Records) == 1 && rtt.Known() {
			n.storeRTT.Observe(max(took-rtt.Smoothed(), time.Millisecond))
		}
	}
}
