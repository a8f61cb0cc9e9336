package store

import (
	"net/netip"

	"github.com/kadquic/kadquic/wire"
)

// Under one key, open and provider records of many publishers stand side by side.
// Limits.KeyRecords and Limits.KeyBytes bound them, and this is how networks divide
// that room. A network is the IPv4 /24 or the IPv6 /48 that a record was sent from.
// The node's own user and senders in loopback, link-local and private networks belong to no
// network: each publisher counts by itself.
//
// Open records are acknowledged, so no other record displaces them: they leave when
// they expire, or when their publisher replaces them.
//
//   - The first half of the room is for all networks. One may fill it, because all
//     nodes of a company, or of a test, may be in one /24.
//   - In the second half a network gets a place only while it holds no more than its
//     share, a sixteenth of the room. Over its share it gets CodeFull, as
//     every network does when all the room is taken.
//   - A newer version takes the place of its publisher's older one, whatever the share.
//
// Provider records are soft state: their publishers renew them, and a reader needs
// some of them, not all. When the room is taken, the network that has the most
// entries loses its worst one; that may be the newcomer, which then gets CodeFull.
//
// Cached copies are not acknowledged. They give way before any other record.

// shareParts is how many networks can have a full share of a key.
const shareParts = 16

// shareBits are the lengths of the prefixes that make one network.
const (
	shareBits4 = 24
	shareBits6 = 48
)

// A crowd is a sender whose records under one key count together: a network, or one publisher
// that belongs to none.
type crowd struct {
	network   netip.Prefix
	publisher wire.PeerID
}

// crowd returns the crowd that e counts for.
func (e *entry) crowd() crowd {
	a := e.from.account.source.Addr()
	bits := shareBits4
	switch {
	case !a.IsValid() || a.IsPrivate() || a.IsLinkLocalUnicast():
		return crowd{publisher: e.publisher}
	case a.Is6():
		bits = shareBits6
	}
	p, _ := a.Prefix(bits) // fails for an invalid length only
	return crowd{network: p}
}

// A load is the part of the room under a key that some records take.
type load struct {
	records int
	bytes   int64
}

func (l *load) add(e *entry) { l.records++; l.bytes += int64(e.size) }

func (l *load) sub(e *entry) { l.records--; l.bytes -= int64(e.size) }

// within reports whether l fits the room of a key.
func (l load) within(limits Limits) bool {
	return l.records <= limits.KeyRecords && l.bytes <= limits.KeyBytes
}

// overShare reports whether the records of one network, out of all, exceed its share. Shares
// apply once half of the room is used. A share has room for at least one record.
func (l load) overShare(all load, limits Limits) bool {
	return all.records > limits.KeyRecords/2 && l.records > max(1, limits.KeyRecords/shareParts) ||
		all.bytes > limits.KeyBytes/2 && l.bytes > max(Overhead+wire.MaxPayload, limits.KeyBytes/shareParts)
}

// fitsKey reports whether there is room for e under its key, and which entries give
// way to it. If e takes the place of an older version, old is that, already removed;
// otherwise nil.
func (x *index) fitsKey(e, old *entry) (gone []*entry, ok bool) {
	if !shared(e.slot.kind) {
		return nil, true
	}
	open := e.slot.kind == wire.KindOpen
	if open && old != nil && e.size <= old.size && (e.cached || !old.cached) {
		return nil, true // it fits into the place of the old version
	}
	var all, firm, mine load // firm: records that do not give way to e; mine: those of e's crowd
	all.add(e)
	firm.add(e)
	mine.add(e)
	of := e.crowd()
	for o := x.slots[e.slot]; o != nil; o = o.next {
		all.add(o)
		if o.cached && !e.cached {
			continue
		}
		firm.add(o)
		if open && o.crowd() == of {
			mine.add(o)
		}
	}
	if open && (!firm.within(x.limits) || mine.overShare(firm, x.limits)) {
		return nil, false
	}
	if all.within(x.limits) {
		return nil, true
	}
	return x.displace(e, all)
}

// displace returns the records that give way under e's key: first cached copies, then, among
// providers, the worst record of the network with the most. It returns false if that is e
// itself. all is the load of all records under the key, with e.
func (x *index) displace(e *entry, all load) (gone []*entry, ok bool) {
	list := make([]*entry, 0, all.records) // the better first
	placed := false
	for o := x.slots[e.slot]; o != nil; o = o.next {
		if !placed && x.better(e, o) {
			list, placed = append(list, e), true
		}
		list = append(list, o)
	}
	if !placed {
		list = append(list, e)
	}
	drop := func(i int) {
		all.sub(list[i])
		gone = append(gone, list[i])
		list[i] = nil
	}
	for i := len(list) - 1; i >= 0 && !e.cached && !all.within(x.limits); i-- {
		if list[i].cached {
			drop(i)
		}
	}
	counts := make(map[crowd]int)
	for _, o := range list {
		if o != nil {
			counts[o.crowd()]++
		}
	}
	for !all.within(x.limits) {
		most, worst := 0, 0
		for i := len(list) - 1; i >= 0; i-- {
			if o := list[i]; o != nil && counts[o.crowd()] > most {
				most, worst = counts[o.crowd()], i
			}
		}
		if list[worst] == e {
			return nil, false
		}
		counts[list[worst].crowd()]--
		drop(worst)
	}
	return gone, true
}
