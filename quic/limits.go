package quic

import (
	"net/netip"
	"sync/atomic"
)

// counts says how many accepted connections and handshakes there are, and from
// where. It has no lock: the transport's guards it.
type counts struct {
	maxPending, maxIn int

	pending int // handshakes under way, but those from loopback
	relayed int // of these, from made-up addresses
	in      int // accepted connections
	from    map[netip.Prefix]int
}

// perPrefix are the limits on connections from one network, above half
// occupancy. IPv6 hosts own a /64 and choose addresses in it as they like.
var perPrefix = [2][]struct{ bits, max int }{
	{{32, 8}, {24, 16}},
	{{64, 4}, {56, 8}, {48, 64}},
}

// perName counts by made-up address, of which each peer has one.
var perName = []struct{ bits, max int }{{128, 4}}

func limitsOf(a netip.Addr) []struct{ bits, max int } {
	if isName(a) {
		return perName
	}
	if a.Is4() {
		return perPrefix[0]
	}
	return perPrefix[1]
}

// exempt addresses have no limit per address and no Retry: they cannot be forged
// from outside, and a whole network may live on one machine.
func exempt(a netip.Addr) bool { return a.IsLoopback() }

// mayBegin tells whether a handshake from a may begin.
func (n *counts) mayBegin(a netip.Addr) bool {
	if exempt(a) {
		return n.in < n.maxIn+n.maxPending
	}
	if isName(a) && n.relayed >= (n.maxPending+1)/2 {
		return false // a relay may make up any number of peers
	}
	return n.pending < n.maxPending && n.mayOpen(a)
}

// mustProve tells whether a caller at a must prove its address first.
func (n *counts) mustProve(a netip.Addr) bool {
	return n.pending >= n.maxPending/2 && !exempt(a)
}

// mayOpen tells whether another connection from a has room.
func (n *counts) mayOpen(a netip.Addr) bool {
	if n.in >= n.maxIn+n.maxPending {
		return false
	}
	if exempt(a) || n.in < n.maxIn/2 {
		return true
	}
	for _, l := range limitsOf(a) {
		if p, err := a.Prefix(l.bits); err == nil && n.from[p] >= l.max {
			return false
		}
	}
	return true
}

// begun and settled count a handshake, opened and closed a connection.
func (n *counts) begun(a netip.Addr)   { n.begin(a, 1) }
func (n *counts) settled(a netip.Addr) { n.begin(a, -1) }

func (n *counts) begin(a netip.Addr, d int) {
	if exempt(a) {
		return
	}
	n.pending += d
	if isName(a) {
		n.relayed += d
	}
}

func (n *counts) opened(a netip.Addr) { n.in++; n.add(a, 1) }
func (n *counts) closed(a netip.Addr) { n.in--; n.add(a, -1) }

func (n *counts) add(a netip.Addr, d int) {
	if exempt(a) {
		return
	}
	for _, l := range limitsOf(a) {
		p, err := a.Prefix(l.bits)
		if err != nil {
			continue
		}
		if n.from[p] += d; n.from[p] == 0 {
			delete(n.from, p)
		}
	}
}

// budget is the receive window memory that all connections share.
type budget struct {
	limit int64
	taken atomic.Int64
}

// take grants n bytes, or refuses.
func (b *budget) take(n int64) bool {
	if b.taken.Add(n) > b.limit {
		b.taken.Add(-n)
		return false
	}
	return true
}

// force takes n bytes even beyond the limit: what every connection starts with.
func (b *budget) force(n int64) { b.taken.Add(n) }

func (b *budget) give(n int64) { b.taken.Add(-n) }
