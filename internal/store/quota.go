package store

import (
	"net/netip"
	"slices"

	"github.com/kadquic/kadquic/internal/netgroup"
	"github.com/kadquic/kadquic/wire"
)

// Limits bound a store. The zero value is the default of each.
type Limits struct {
	// Bytes bounds the size of all held records. If zero, 64 MiB.
	Bytes int64
	// Records bounds their number. If zero, 100,000.
	Records int
	// SourceBytes bounds what one source may have put here, a source being an
	// IPv4 /24, or an address of a private network, or an IPv6 /64. If zero, 4 MiB.
	SourceBytes int64
	// ShareBytes bounds what one network may have put here once a quarter of Bytes is used. A
	// network is an IPv4 /24 or /16, or an IPv6 /64, /56, /48 or /32. Sixteen networks can
	// therefore take half of the store at most, however they divide it: the rest is kept for
	// networks below their share. If zero, 1/64 of Bytes.
	ShareBytes int64
	// NeighbourBytes does so for one that is in our complete subtree.
	// If zero, a quarter of Bytes.
	NeighbourBytes int64
	// KeyBytes and KeyRecords bound the records of one kind under one key, of the
	// kinds of which several publishers' stand side by side. How networks divide them
	// is told in share.go. If zero, 2 MiB and 1,024.
	KeyBytes   int64
	KeyRecords int
}

func (l Limits) withDefaults() Limits {
	def := func(v *int64, d int64) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&l.Bytes, 64<<20)
	def(&l.SourceBytes, 4<<20)
	def(&l.NeighbourBytes, l.Bytes/4)
	def(&l.ShareBytes, l.Bytes/64)
	def(&l.KeyBytes, 2<<20)
	if l.Records <= 0 {
		l.Records = 100_000
	}
	if l.KeyRecords <= 0 {
		l.KeyRecords = 1024
	}
	return l
}

// Overhead is counted for every record in addition to its payload: its measured cost in
// memory, so that tiny records cannot take more than Bytes.
const Overhead = 768

// tombSize is the same for a remembered sequence number.
const tombSize = 384

func sizeOf(r *wire.Signed) int64 { return Overhead + int64(len(r.Payload)) }

// An account is the network that an entry's bytes are charged to.
type account struct {
	source    netip.Prefix // the zero Prefix: none
	neighbour bool
}

// accountOf returns the account of a sender.
func accountOf(a netip.Addr) account {
	a = a.Unmap().WithZone("")
	if !a.IsValid() || a.IsLoopback() {
		return account{}
	}
	return account{source: netgroup.Of(a)}
}

// A tally counts the records of one account. It is in usage.by while it counts any bytes.
type tally struct {
	account account
	bytes   int64
	share   int64 // of a neighbour's, where there are few: it may have so much
}

// fits reports whether the quota of e's source has room for it.
func (a *tally) fits(e *entry, l Limits) bool {
	if !a.account.source.IsValid() {
		return true
	}
	limit := l.SourceBytes
	if a.account.neighbour {
		limit = max(l.NeighbourBytes, a.share)
	}
	return a.bytes+int64(e.size) <= limit
}

// usage counts bytes, in all, by account, and by the wider networks around sources.
type usage struct {
	bytes  int64
	by     map[account]*tally
	wider  map[netip.Prefix]int64
	exempt tally // of the zero account: counted nowhere
}

// overShare reports whether e would give a network more than its share, of a store of which a
// quarter is used: the first quarter is for all, because all nodes of a company may be in
// one /24. Where there are few neighbours, the share of a neighbour is its share of the store.
func (u *usage) overShare(e *entry, l Limits) bool {
	source, size := e.from.account.source, int64(e.size)
	if !source.IsValid() || u.bytes+size <= l.Bytes/4 {
		return false
	}
	share := max(l.ShareBytes, e.from.share)
	used := u.tally(account{source, false}).bytes + u.tally(account{source, true}).bytes
	if used+size > share {
		return true
	}
	if e.from.share > 0 { // in a small network all nodes may be at one hoster
		return false
	}
	return slices.ContainsFunc(netgroup.Wider(source), func(p netip.Prefix) bool { return u.wider[p]+size > share })
}

// chargeWider counts n bytes against the wider networks around a source.
func (u *usage) chargeWider(source netip.Prefix, n int64) {
	for _, p := range netgroup.Wider(source) {
		if u.wider[p] += n; u.wider[p] == 0 {
			delete(u.wider, p)
		}
	}
}

// tally returns the tally of an account.
func (u *usage) tally(a account) *tally {
	if !a.source.IsValid() {
		return &u.exempt
	}
	if t := u.by[a]; t != nil {
		return t
	}
	return &tally{account: a}
}

// charge counts n bytes, which may be negative, against e's source.
func (u *usage) charge(e *entry, n int64) {
	u.bytes += n
	if e.from == &u.exempt {
		return
	}
	u.chargeWider(e.from.account.source, n)
	if e.from.bytes == 0 { // not in by; another of the account may be by now
		if t := u.by[e.from.account]; t != nil {
			e.from = t
		} else {
			u.by[e.from.account] = e.from
		}
	}
	if e.from.bytes += n; e.from.bytes == 0 {
		delete(u.by, e.from.account)
	}
}

// storable reports whether records of kind k are held at all.
func storable(k wire.Kind) bool { return k >= wire.KindContent && k <= wire.KindProvider }

// shared reports whether several publishers' records stand side by side.
func shared(k wire.Kind) bool { return k == wire.KindOpen || k == wire.KindProvider }
