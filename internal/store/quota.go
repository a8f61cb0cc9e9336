package store

import (
	"net/netip"

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
	return account{source: networkOf(a)}
}

// networkOf returns the source of an address. In a private IPv4 network every address is a
// separate source, because all machines of a house may be in one /24.
func networkOf(a netip.Addr) netip.Prefix {
	bits := 24
	switch {
	case a.Is6():
		bits = 64
	case a.IsPrivate():
		bits = 32
	}
	p, _ := a.Prefix(bits) // fails for an invalid length only
	return p
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

// usage counts bytes, in all and by account.
type usage struct {
	bytes  int64
	by     map[account]*tally
	exempt tally // of the zero account: counted nowhere
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
