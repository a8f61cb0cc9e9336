package peerstore

import (
	"cmp"
	"slices"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// forGood is the expiry of an address that is kept as long as its peer.
const forGood = 1<<63 - 1

// maxFailures is where the count of failures stops: the back-off has long peaked.
const maxFailures = 1000

// A peer is one entry of the store, guarded by the store's mutex.
// Times are Unix nanoseconds, zero for never.
type peer struct {
	id     wire.PeerID
	addrs  []address // the verified first, see verified; no address twice
	record *wire.Signed
	agent  string
	rtt    routing.RTT
	mode   wire.Mode
	class  class
	// addrs[:verified] are those with a success: first those that have not failed
	// since, the latest success first, then those that have.
	verified   int
	seen       int64
	prev, next *peer // in the list of its class
}

type address struct {
	addr                     wire.Addr
	expiry, success, failure int64
	failures                 uint16
	source                   Source
}

func (p *peer) find(addr wire.Addr) int {
	for i := range p.addrs {
		if p.addrs[i].addr == addr {
			return i
		}
	}
	return -1
}

// add notes addr; t is now.
func (p *peer) add(addr wire.Addr, src Source, t, expiry int64, o *Options) {
	if addr == "" {
		return
	}
	i := p.find(addr)
	if i < 0 {
		if i = p.place(address{addr: addr, source: src, expiry: expiry}, t, o); i < 0 {
			return
		}
	}
	a := &p.addrs[i]
	// Hearsay prolongs hearsay only: two nodes that name a dead address to each
	// other must not keep it alive between them.
	if src >= a.source || src.authenticated() {
		a.expiry = max(a.expiry, expiry)
	}
	a.source = max(a.source, src)
	if !src.authenticated() {
		return
	}
	a.success = max(a.success, t)
	a.failure, a.failures = 0, 0
	if i >= p.verified {
		p.verified++
	}
	p.move(i, 0)
}

// place finds room for a new, unverified address and returns its index, or -1
// when all that is there is worth more.
func (p *peer) place(a address, t int64, o *Options) int {
	if len(p.addrs) >= o.MaxAddrs {
		less := func(a, b *address) int { // negative if a is to go before b
			return cmp.Or(cmp.Compare(a.worth(t), b.worth(t)), o.Prefer(b.addr, a.addr))
		}
		worst := 0
		for i := 1; i < len(p.addrs); i++ {
			if cmp.Or(less(&p.addrs[i], &p.addrs[worst]), cmp.Compare(p.addrs[i].expiry, p.addrs[worst].expiry)) < 0 {
				worst = i
			}
		}
		if less(&a, &p.addrs[worst]) < 0 {
			return -1
		}
		p.delete(worst)
	}
	if p.addrs == nil {
		p.addrs = make([]address, 0, 2)
	}
	a.addr = a.addr.Clone() // it may be a part of a whole frame
	p.addrs = append(p.addrs, a)
	return len(p.addrs) - 1
}

// worth ranks addresses by the cost of losing them.
func (a *address) worth(t int64) int {
	switch {
	case a.expiry <= t:
		return 0
	case a.source == SourceUser:
		return 4
	case a.failures > 0 && (a.success == 0 || a.failures >= 5):
		return 0
	case a.success != 0:
		return 3
	case a.source == SourceRecord:
		return 2
	case a.source.authenticated():
		return 3 // about to be marked so
	}
	return 1
}

func (p *peer) fail(addr wire.Addr, t int64) {
	i := p.find(addr)
	if i < 0 {
		return
	}
	a := &p.addrs[i]
	a.failure = max(a.failure, t)
	a.failures = min(a.failures+1, maxFailures)
	if i < p.verified {
		p.move(i, p.verified-1)
	}
}

// move puts the address at from to to, the ones between them one place on.
func (p *peer) move(from, to int) {
	a := p.addrs[from]
	switch {
	case from > to:
		copy(p.addrs[to+1:from+1], p.addrs[to:from])
	case from < to:
		copy(p.addrs[from:to], p.addrs[from+1:to+1])
	default:
		return
	}
	p.addrs[to] = a
}

func (p *peer) delete(i int) {
	p.addrs = slices.Delete(p.addrs, i, i+1)
	if i < p.verified {
		p.verified--
	}
}

// order fills o with the indices of the unexpired addresses, the best to dial
// first, and returns them. An insertion sort: they are few, and mostly in order.
func (p *peer) order(o *[maxAddrs]uint8, t int64) []uint8 {
	n := 0
	for i := range p.addrs {
		if p.addrs[i].expiry <= t {
			continue
		}
		j := n
		for j > 0 && p.addrs[i].before(&p.addrs[o[j-1]], t) {
			o[j] = o[j-1]
			j--
		}
		o[j] = uint8(i)
		n++
	}
	return o[:n]
}

// before reports whether to dial a before b.
func (a *address) before(b *address, t int64) bool {
	if af, bf := a.retry() > t, b.retry() > t; af != bf {
		return bf
	}
	if au, bu := a.source == SourceUser, b.source == SourceUser; au != bu {
		return au
	}
	if a.success != b.success {
		return a.success > b.success
	}
	if a.source != b.source {
		return a.source > b.source
	}
	return a.expiry > b.expiry
}

// retry is when the back-off of a ends, zero if it has none.
func (a *address) retry() int64 {
	if a.failures == 0 {
		return 0
	}
	return a.failure + int64(Backoff(int(a.failures)))
}

// prune drops what has expired and reports whether nothing worth keeping is left.
func (p *peer) prune(t int64) bool {
	for i := len(p.addrs) - 1; i >= 0; i-- {
		if p.addrs[i].expiry <= t {
			p.delete(i)
		}
	}
	if p.record != nil && p.record.Record.Expiry.UnixNano() <= t {
		p.record = nil
	}
	return len(p.addrs) == 0 && p.record == nil
}
