package sim

import (
	"net/netip"

	"github.com/kadquic/kadquic/wire"
)

// purpose classifies requests in the report.
type purpose int

const (
	joining purpose = iota
	refreshing
	pinging  // suspects, and the oldest of a full bucket
	checking // neighbours, before a hand-over
	putting
	getting
	handingOver
	republishing
	purposes
)

var purposeNames = [purposes]string{"join", "refresh", "ping", "check", "put", "get", "hand-over", "republish"}

func (p purpose) String() string { return purposeNames[p] }

// Cost is what something took.
type Cost struct {
	Requests int
	Failed   int // of these, sent to dead nodes
	Bytes    int // of frames both ways, without QUIC, UDP and IP
	Offered  int // records named in OFFERs
	Sent     int // records sent, to be stored
}

// The bytes of frames, as package wire writes them.
var (
	sizePing    = size(wire.Ping{}) + size(wire.Pong{})
	sizeFind    = size(wire.FindNode{Key: someKey, Count: 20})
	sizeContact = size(wire.Nodes{Contacts: []wire.Contact{someone, someone}}) - size(wire.Nodes{Contacts: []wire.Contact{someone}})
	sizeOffer   = size(wire.Offer{})
	sizeOffered = size(wire.Offer{Records: []wire.Offered{{Kind: wire.KindContent, Key: someKey, Print: wire.Print{1}}}}) - sizeOffer
	sizeAnswer  = 12 // about what there is to a frame beside records and contacts
	someKey     = wire.PeerID{1}.Key()
	someone     = wire.Contact{ID: wire.PeerID{1}, Addrs: []wire.Addr{wire.AddrFrom(netip.MustParseAddrPort("192.0.2.1:37393"))}}
)

func size(m wire.Message) int { return len(wire.AppendPrefixed(nil, wire.Frame{ID: 1000, Body: m})) }

// request sends a request of so many bytes. If the peer lives then answered runs,
// which does what the peer would do, and takes in the answer; if not, failed runs
// when the caller has waited long enough. If the caller dies, neither does.
func (n *node) request(to contact, why purpose, bytes int, answered func(*node), failed func()) {
	w := n.w
	if _, known := n.dead[to.Addr]; known && why != pinging { // node backs off from peers it could not dial
		w.after(0, func() {
			if n.isAlive() {
				failed()
			}
		})
		return
	}
	w.cost(why).Requests++
	w.cost(why).Bytes += bytes
	rtt := minRTT + w.upTo(maxRTT-minRTT)
	w.after(rtt, func() {
		if !n.isAlive() {
			return
		}
		if p := w.nodes[to.Addr]; p != nil {
			p.sees(n.contact)
			answered(p)
			n.sees(to)
			return
		}
		w.cost(why).Failed++
		w.after(grace-rtt, func() {
			if n.isAlive() {
				n.fails(to)
				failed()
			}
		})
	})
}

// fails notes that another node does not answer.
func (n *node) fails(c contact) {
	n.dead[c.Addr] = struct{}{}
	n.table.Failed(c.Key, n.w.now())
}

func (n *node) ping(c contact) {
	n.request(c, pinging, sizePing, func(*node) {}, func() {})
}

func (w *World) cost(p purpose) *Cost { return &w.report.Costs[p] }
