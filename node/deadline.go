package node

import (
	"time"

	"github.com/kadquic/kadquic/internal/lookup"
	"github.com/kadquic/kadquic/wire"
)

// How long an operation waits for one peer. After the deadline of a query the
// lookup turns to another peer. If there is no other, it waits further for the
// patience, in which QUIC retransmits lost packets. Neither counts as a failure of the
// peer: only a request that is unanswered for Config.RPCTimeout does.
const (
	minTimeout = 20 * time.Millisecond

	// minWait is the minimum of deadline plus patience: a busy machine may suspend a
	// process for that long.
	minWait = 500 * time.Millisecond

	// A STORE is answered after an fsync: its allowance is added to the deadline
	// of another request.
	minStoreAllowance   = 50 * time.Millisecond
	firstStoreAllowance = 250 * time.Millisecond // while no STORE was measured
	minStoreTimeout     = 150 * time.Millisecond // in all

	// silentFor is how long a peer counts as silent after an operation has waited for
	// it without an answer. By then its unanswered request has failed.
	silentFor = 10 * time.Second
)

// softTimeout returns the deadline of a query. It is computed from the peer's measured
// round-trip times (RFC 6298), or, for a peer without a connection, from the network's
// round-trip and handshake times. A STORE adds storeAllowance and four deviations, because
// a needless second STORE is expensive. A silent peer is queried again with minTimeout,
// so that it does not delay the lookup.
func (n *Node) softTimeout(q lookup.Query) time.Duration {
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

// storeAllowance returns how much longer a STORE may take than another request. It is
// computed from the STOREs that peers have answered.
func (n *Node) storeAllowance() time.Duration {
	if extra := n.storeRTT.Get(); extra.Known() {
		return extra.Timeout(minStoreAllowance, n.config.RPCTimeout)
	}
	return firstStoreAllowance
}

// patience returns how long a lookup waits beyond a query's deadline if it has no other
// peer to query: twice the network's timeout, so that the loss of one packet each way
// does no harm, and together with the deadline at least minWait. For a silent peer it is
// practically zero.
func (n *Node) patience(q lookup.Query) time.Duration {
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

// observe adds the time that a peer took to answer m to the round-trip statistics.
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
