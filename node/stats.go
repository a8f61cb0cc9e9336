package node

import (
	"sync/atomic"

	"github.com/kadquic/kadquic/wire"
)

// Requests counts requests by type.
type Requests struct {
	Ping, FindNode, FindValue, Store, Offer, GetProviders, DialBack int64
}

// Total is the sum.
func (r Requests) Total() int64 {
	return r.Ping + r.FindNode + r.FindValue + r.Store + r.Offer + r.GetProviders + r.DialBack
}

// Stats is a snapshot of a node.
type Stats struct {
	Peers         int      // in the routing table
	Known         int      // peers in the peerstore
	Connections   int      // open now
	Records       int      // held
	RecordBytes   int64    // that they take
	Damaged       int      // records and states on disk that were dropped as damaged, at Start and since
	Losses        []string // the first of them, in words
	ReadOnly      error    // why the disk could not be written the last time it was tried; nil if it could
	Lookups       int64    // begun, of any kind
	Republished   int64    // records sent to their other holders again, or offered, once a round each
	HandedOver    int64    // records sent to newcomers, one for each that lacked it
	DialledBack   int64    // peers dialled to find out whether they are within reach
	Sent, Served  Requests
	BytesSent     uint64 // over open connections
	BytesReceived uint64
	Relay         RelayStats // what it does for others as their relay
}

// requestCounters count requests as they go.
type requestCounters struct {
	pings, findNodes, findValues, stores, offers, getProviders, dialBacks atomic.Int64
}

func (c *requestCounters) snapshot() Requests {
	return Requests{
		Ping:         c.pings.Load(),
		FindNode:     c.findNodes.Load(),
		FindValue:    c.findValues.Load(),
		Store:        c.stores.Load(),
		Offer:        c.offers.Load(),
		GetProviders: c.getProviders.Load(),
		DialBack:     c.dialBacks.Load(),
	}
}

type counters struct {
	sent   requestCounters
	knocks atomic.Int64
}

// count counts one request.
func (c *requestCounters) count(m wire.Message) {
	switch m.(type) {
	case wire.Ping:
		c.pings.Add(1)
	case wire.FindNode:
		c.findNodes.Add(1)
	case wire.FindValue:
		c.findValues.Add(1)
	case wire.Store:
		c.stores.Add(1)
	case wire.Offer:
		c.offers.Add(1)
	case wire.GetProviders:
		c.getProviders.Add(1)
	case wire.DialBack:
		c.dialBacks.Add(1)
	}
}

// Stats returns what the node is doing.
func (n *Node) Stats() Stats {
	peers := n.routes.Len()
	if n.state.Load() == stateNew { // Start may be opening the store
		return Stats{}
	}
	republished, handedOver := n.replica.Stats()
	s := Stats{
		Peers:       peers,
		Known:       n.peers.Len(),
		Records:     n.values.Len(),
		RecordBytes: n.values.Bytes(),
		Lookups:     n.lookups.Count(),
		Republished: republished,
		HandedOver:  handedOver,
		DialledBack: n.counters.knocks.Load(),
		Sent:        n.counters.sent.snapshot(),
		Served:      n.served.snapshot(),
		Relay:       relayStats(n.relay.Stats()),
	}
	if n.disk != nil {
		r := n.disk.Report()
		s.Damaged, s.Losses, s.ReadOnly = r.Damaged+r.DamagedStates, r.Losses, r.ReadOnly
	}
	for _, l := range n.links.all() {
		s.Connections++
		c := l.conn.Stats()
		s.BytesSent += c.BytesSent
		s.BytesReceived += c.BytesReceived
	}
	return s
}
