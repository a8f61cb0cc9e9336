package store

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// ofPublisher returns the i-th publisher's record under key(1), signed once for all tests. Its
// life grows with i.
func ofPublisher(t *testing.T, kind wire.Kind, i int) *wire.Signed {
	of := &signed[kind-wire.KindOpen]
	for len(*of) <= i {
		n := len(*of)
		expiry := after(time.Hour + time.Duration(n)*time.Second)
		r := open(t, 1, n, 1, expiry, "value")
		if kind == wire.KindProvider {
			r = provider(t, 1, n, 1, expiry, false)
		}
		*of = append(*of, r)
	}
	return (*of)[i]
}

var signed [wire.KindProvider - wire.KindOpen + 1][]*wire.Signed

// putMany puts records of the publishers from to to-1 under key(1), all from one address,
// and returns how many were accepted.
func putMany(t *testing.T, s Store, kind wire.Kind, from, to int, source netip.Addr) (accepted int) {
	t.Helper()
	for i := from; i < to; i++ {
		switch code := put(s, noon, Item{Record: ofPublisher(t, kind, i), Source: source}); code {
		case wire.CodeOK:
			accepted++
		case wire.CodeFull:
		default:
			t.Fatalf("publisher %d: %v", i, code)
		}
	}
	return accepted
}

// No open record displaces an acknowledged one, for any number of records and networks.
func TestAcknowledgedOpenRecordIsNeverDisplaced(t *testing.T) {
	s := newMemory(Limits{KeyRecords: 32})
	acknowledged := make(map[int]*wire.Signed)
	for i := range 200 {
		// The later ones live longer, which is better.
		r := open(t, 1, i, uint64(i), after(time.Hour+time.Duration(i)*time.Minute), "value")
		if put(s, noon, Item{Record: r, Source: from(i/3, i)}) == wire.CodeOK {
			acknowledged[i] = r
		}
	}
	if len(acknowledged) != 32 {
		t.Errorf("%d records were acknowledged where 32 have room", len(acknowledged))
	}
	for i, r := range acknowledged {
		if !s.Has(noon, r) {
			t.Errorf("record %d was acknowledged and is gone", i)
		}
	}
	// The same holds in a store that is full.
	s = newMemory(Limits{Records: 2})
	a, b := open(t, 1, 0, 1, after(time.Hour), "a"), open(t, 1, 1, 1, after(time.Hour), "b")
	wantPut(t, s, noon, a, wire.CodeOK)
	wantPut(t, s, noon, b, wire.CodeOK)
	wantPut(t, s, noon, open(t, 1, 2, 2, after(2*time.Hour), "c"), wire.CodeFull)
	if !s.Has(noon, a) || !s.Has(noon, b) {
		t.Error("a full store has displaced an acknowledged record by another of its key")
	}
}

// A network may fill half of a key's room, and beyond that no more than its share, so
// that there is room for the records of other networks.
func TestNetworkOverItsShareIsRefused(t *testing.T) {
	const limit = 64 // a share is 4
	networks := map[string]func(a, i int) netip.Addr{
		"ip4": from,
		"ip6": func(a, i int) netip.Addr { // other /64s of one /48
			return netip.MustParseAddr(fmt.Sprintf("2001:db8:%x:%x::1", a, i))
		},
	}
	for name, in := range networks {
		s := newMemory(Limits{KeyRecords: limit})
		next := 0
		put := func(a, n, want int) {
			t.Helper()
			got := 0
			for range n {
				got += putMany(t, s, wire.KindOpen, next, next+1, in(a, next%250))
				next++
			}
			if got != want {
				t.Errorf("%s: network %d has %d of %d records accepted, want %d", name, a, got, n, want)
			}
		}
		put(1, 60, limit/2) // the free half
		put(2, 10, 4)       // a share
		put(1, 10, 0)       // over its share already
		for a := 3; a < 10; a++ {
			put(a, 5, 4)
		}
		put(20, 1, 0) // no room is left
		if s.Len() != limit {
			t.Errorf("%s: %d records held, want %d", name, s.Len(), limit)
		}
	}
}

// Shares limit bytes as they limit records.
func TestNetworkOverItsShareOfBytesIsRefused(t *testing.T) {
	s := newMemory(Limits{KeyBytes: 2 << 20}) // a share is 128 KiB
	big := func(i int, a netip.Addr) bool {
		r := open(t, 1, i, 1, after(time.Hour), string(bytes.Repeat([]byte("v"), wire.MaxValue)))
		return put(s, noon, Item{Record: r, Source: a}) == wire.CodeOK
	}
	accepted := make(map[int]int)
	for i := range 400 {
		if big(i, from(i/200, i%200)) {
			accepted[i/200]++
		}
	}
	each := int(sizeOf(open(t, 1, 0, 1, after(time.Hour), string(make([]byte, wire.MaxValue)))))
	if free, share := (1<<20)/each, (128<<10)/each; accepted[0] != free || accepted[1] != share {
		t.Errorf("two networks have %v large records accepted, want %d and %d", accepted, free, share)
	}
}

// If all publishers are in one network, there is room for 512 of either kind. If the network
// is private, or the nodes are on one host, there is room for all.
func TestOneNetworkHasRoom(t *testing.T) {
	for _, kind := range []wire.Kind{wire.KindOpen, wire.KindProvider} {
		for source, want := range map[string]int{
			"198.18.0.1": 512, "2001:db8::1": 512,
			"127.0.0.1": 1024, "::1": 1024, "192.168.1.7": 1024, "10.0.0.1": 1024, "fd00::1": 1024, "fe80::1": 1024, "": 1024,
		} {
			if kind == wire.KindProvider {
				want = 1024 // shares do not apply to them
			}
			var a netip.Addr
			if source != "" {
				a = netip.MustParseAddr(source)
			}
			s := newMemory(Limits{})
			putMany(t, s, kind, 0, 1100, a)
			if s.Len() != want {
				t.Errorf("%v from %q: %d held, want %d", kind, source, s.Len(), want)
			}
		}
	}
}

// Providers of the largest size have room for 512, too, if they come from several
// networks.
func TestRoomForLargeProviders(t *testing.T) {
	if most := int64(512 * (Overhead + wire.MaxPeerRecord + 256)); newMemory(Limits{}).x.limits.KeyBytes < most {
		t.Errorf("512 providers of the largest size need %d bytes", most)
	}
}

// A publisher can always replace, and so withdraw, its own record, whatever the room and the
// share. It gets no additional bytes by that.
func TestNewerVersionKeepsItsPlace(t *testing.T) {
	s := newMemory(Limits{KeyRecords: 8})
	flood := from(1, 1)
	if n := putMany(t, s, wire.KindOpen, 0, 8, flood); n != 4 {
		t.Fatalf("%d records accepted, want 4", n)
	}
	for a := 2; a < 10; a++ {
		putMany(t, s, wire.KindOpen, 10*a, 10*a+1, from(a, 1))
	}
	if s.Len() != 8 {
		t.Fatalf("%d records held, want 8", s.Len())
	}
	newer := open(t, 1, 0, 2, after(2*time.Hour), "other")
	wantPutItem(t, s, noon, Item{Record: newer, Source: flood}, wire.CodeOK)
	wantPutItem(t, s, noon, Item{Record: open(t, 1, 1, 2, after(time.Minute), "value"), Source: flood}, wire.CodeOK) // withdrawn
	wantPutItem(t, s, noon, Item{Record: open(t, 1, 9, 1, after(time.Hour), "value"), Source: flood}, wire.CodeFull)
	if s.Len() != 8 || !s.Has(noon, newer) {
		t.Errorf("%d records held", s.Len())
	}
	large := open(t, 1, 0, 3, after(2*time.Hour), string(make([]byte, 4000)))
	wantPutItem(t, s, noon, Item{Record: large, Source: flood}, wire.CodeFull) // refused; the earlier record stays
	if !s.Has(noon, newer) {
		t.Error("a version was refused and the one before it is gone")
	}
}

// Among providers, the worst record of the most crowded network gives way. A network cannot
// displace others, even with records that are better in every way.
func TestMostCrowdedProvidersGiveWay(t *testing.T) {
	s := newMemory(Limits{KeyRecords: 16})
	honest := provider(t, 1, 1100, 1, after(time.Minute), false)
	wantPutItem(t, s, noon, Item{Record: honest, Source: from(9, 1)}, wire.CodeOK)
	putMany(t, s, wire.KindProvider, 0, 500, from(1, 1))
	if !s.Has(noon, honest) || s.Len() != 16 {
		t.Fatalf("one network has pushed out another: %d held", s.Len())
	}
	for a := 20; a < 27; a++ { // all others fit
		wantPutItem(t, s, noon, Item{Record: provider(t, 1, 1000+a, 1, after(time.Minute), false), Source: from(a, 1)}, wire.CodeOK)
	}
	if s.Len() != 16 {
		t.Errorf("%d providers held, want 16", s.Len())
	}
	worst := provider(t, 1, 501, 1, after(time.Second), false)
	wantPutItem(t, s, noon, Item{Record: worst, Source: from(1, 1)}, wire.CodeFull)
}

// Cached copies are not acknowledged, so they never exclude a record that would be.
func TestCachedCopiesGiveWayUnderTheirKey(t *testing.T) {
	for _, kind := range []wire.Kind{wire.KindOpen, wire.KindProvider} {
		s := newMemory(Limits{KeyRecords: 16})
		of := func(i int) *wire.Signed {
			if kind == wire.KindProvider {
				return provider(t, 1, i, 1, after(time.Hour), false)
			}
			return open(t, 1, i, 1, after(time.Hour), "value")
		}
		for i := range 16 {
			put(s, noon, Item{Record: of(i), Source: from(i, 1), Cached: true})
		}
		for i := range 16 {
			wantPutItem(t, s, noon, Item{Record: of(100 + i), Source: from(1, 1)}, map[bool]wire.Code{true: wire.CodeOK, false: wire.CodeFull}[i < 8 || kind == wire.KindProvider])
		}
		if s.Len() != 16 {
			t.Errorf("%v: %d held, want 16", kind, s.Len())
		}
		check(t, s.x)
	}
}

// Pages return each record once, in order of publishers.
func TestPages(t *testing.T) {
	d, _ := newDisk(t, Limits{})
	for name, s := range map[string]Store{"memory": newMemory(Limits{}), "disk": d} {
		var batch []Item
		for i := range 100 {
			batch = append(batch, Item{Record: open(t, 1, i, 1, after(time.Hour), string(make([]byte, i*10)))})
		}
		for _, err := range s.Put(noon, batch) {
			if err != nil {
				t.Fatal(err)
			}
		}
		var all []wire.PeerID
		var after wire.PeerID
		for more := true; more; {
			var page []*wire.Signed
			page, more = s.Page(noon, wire.KindOpen, key(1), after, 32, 10_000)
			size := 0
			for _, r := range page {
				after = r.Record.Publisher
				all = append(all, after)
				size += r.Size()
			}
			if len(page) == 0 || len(page) > 32 || size > 10_000 {
				t.Fatalf("%s: a page of %d records, %d bytes", name, len(page), size)
			}
		}
		if len(all) != 100 || !slices.IsSortedFunc(all, func(a, b wire.PeerID) int { return bytes.Compare(a[:], b[:]) }) {
			t.Errorf("%s: pages of %d records", name, len(all))
		}
		if page, more := s.Page(noon, wire.KindOpen, key(1), wire.PeerID{}, 32, 1); len(page) != 1 || !more {
			t.Errorf("%s: where no record fits a page it has %d, more %v", name, len(page), more)
		}
		if page, more := s.Page(noon, wire.KindOpen, routing.Key{}, wire.PeerID{}, 32, 1); len(page) != 0 || more {
			t.Errorf("%s: nothing is held, and a page has %d, more %v", name, len(page), more)
		}
	}
}

// A stranger's records that tie cost one read each, not one per comparison.
func TestTiesAreReadOnce(t *testing.T) {
	d, _ := newDisk(t, Limits{})
	loads := 0
	load := d.x.load
	d.x.load = func(e *entry) *wire.Signed { loads++; return load(e) }
	const n = 200
	for i := range n {
		put(d, noon, Item{Record: open(t, 1, i, 1, after(time.Hour), "value")})
	}
	if loads > 2*n {
		t.Errorf("%d records that tie were read %d times", n, loads)
	}
}
