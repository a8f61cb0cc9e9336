package store

import (
	"fmt"
	"maps"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/netgroup"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// Records of the tests below take this many bytes each.
func unit(t testing.TB) int64 { return sizeOf(open(t, 300, 0, 1, after(time.Hour), "value")) }

func small(t testing.TB, k int) *wire.Signed { return open(t, k, 0, 1, after(time.Hour), "value") }

// A full store refuses records, however near they are: those that it holds were acknowledged.
func TestFullStoreRefuses(t *testing.T) {
	s := newMemory(Limits{Records: 3})
	for _, k := range []int{500, 300, 400} {
		wantPut(t, s, noon, small(t, k), wire.CodeOK)
	}
	wantPut(t, s, noon, small(t, 600), wire.CodeFull)
	wantPut(t, s, noon, small(t, 1), wire.CodeFull)
	wantPutItem(t, s, noon, Item{Record: small(t, 2), Cached: true}, wire.CodeTooFar)
	m := held(s, noon)
	if len(m) != 3 || m[300].Size == 0 || m[400].Size == 0 || m[500].Size == 0 {
		t.Errorf("held %v", m)
	}
	// A newer version of a held record always fits.
	wantPut(t, s, noon, open(t, 400, 0, 2, after(time.Hour), "other"), wire.CodeOK)
}

func TestBytesAreBounded(t *testing.T) {
	s := newMemory(Limits{Bytes: 3 * unit(t)})
	for k := range 20 {
		want := wire.CodeOK
		if k >= 3 {
			want = wire.CodeFull
		}
		wantPut(t, s, noon, small(t, 300-k), want)
	}
	if s.Len() != 3 || s.Bytes() != 3*unit(t) {
		t.Errorf("%d records of %d bytes, want 3 of %d", s.Len(), s.Bytes(), 3*unit(t))
	}
}

// The cached copies do not free enough room: then a refused record displaces none.
func TestRefusedRecordDisplacesNone(t *testing.T) {
	s := newMemory(Limits{Bytes: 4 * unit(t)})
	for _, k := range []int{300, 310} {
		wantPut(t, s, noon, small(t, k), wire.CodeOK)
		wantPutItem(t, s, noon, Item{Record: small(t, k+200), Cached: true}, wire.CodeOK)
	}
	big := open(t, 400, 0, 1, after(time.Hour), strings.Repeat("v", int(2*unit(t))-Overhead))
	wantPut(t, s, noon, big, wire.CodeFull)
	if m := held(s, noon); len(m) != 4 || s.Bytes() != 4*unit(t) {
		t.Errorf("held %v, %d bytes", m, s.Bytes())
	}
	wantPut(t, s, noon, open(t, 400, 0, 1, after(time.Hour), "fits in two"), wire.CodeOK)
	if m := held(s, noon); len(m) != 3 || m[300].Size == 0 || m[310].Size == 0 {
		t.Errorf("held %v", m)
	}
}

func TestCachedGivesWayFirst(t *testing.T) {
	s := newMemory(Limits{Records: 2})
	wantPutItem(t, s, noon, Item{Record: small(t, 300), Cached: true}, wire.CodeOK)
	wantPut(t, s, noon, small(t, 600), wire.CodeOK)
	wantPutItem(t, s, noon, Item{Record: small(t, 400), Cached: true}, wire.CodeTooFar)
	wantPut(t, s, noon, small(t, 700), wire.CodeOK)
	if m := held(s, noon); len(m) != 2 || m[300].Size != 0 {
		t.Errorf("held %v, want the cached copy gone though it lies nearest", m)
	}
}

func TestEndedRecordsMakeRoom(t *testing.T) {
	s := newMemory(Limits{Records: 1})
	wantPut(t, s, noon, small(t, 300), wire.CodeOK)
	far := open(t, 600, 0, 1, after(9*time.Hour), "v")
	wantPut(t, s, after(59*time.Minute), far, wire.CodeFull)
	wantPut(t, s, after(time.Hour), far, wire.CodeOK)
}

func TestRememberedSequencesMakeRoom(t *testing.T) {
	s := newMemory(Limits{Records: 4})
	for _, name := range []string{"a", "b", "c", "d"} {
		wantPut(t, s, noon, owned(t, name, 0, 5, after(time.Minute), "v"), wire.CodeOK)
	}
	s.Expire(after(time.Minute))
	wantPut(t, s, after(time.Minute), owned(t, "a", 0, 4, after(time.Hour), "v"), wire.CodeStale)
	for k := range 4 {
		wantPut(t, s, after(time.Minute), small(t, 60000+k), wire.CodeOK)
	}
	if s.Len() != 4 {
		t.Errorf("%d records, want the four that live", s.Len())
	}
}

// A cached copy that gives way leaves its sequence number, if there is room for it.
func TestEvictedSequenceIsRemembered(t *testing.T) {
	o := owned(t, "name", 0, 5, after(time.Hour), strings.Repeat("v", 2000))
	self := o.Record.Key
	for i := range self { // the farthest there is
		self[i] = ^self[i]
	}
	s := NewMemory(self, Limits{Bytes: sizeOf(o) + unit(t) - 1})
	wantPutItem(t, s, noon, Item{Record: o, Cached: true}, wire.CodeOK)
	wantPut(t, s, noon, small(t, 1), wire.CodeOK)
	wantGet(t, s, noon, o)
	wantPut(t, s, noon, owned(t, "name", 0, 4, after(time.Hour), "v"), wire.CodeStale)
}

func TestSourceQuota(t *testing.T) {
	s := newMemory(Limits{SourceBytes: 2 * unit(t), NeighbourBytes: 3 * unit(t)})
	k := 300
	next := func(a netip.Addr, neighbour bool, want wire.Code) {
		t.Helper()
		k++
		wantPutItem(t, s, noon, Item{Record: small(t, k), Source: a, Neighbour: neighbour}, want)
	}
	next(from(1, 1), false, wire.CodeOK)
	next(from(1, 2), false, wire.CodeOK)
	next(from(1, 3), false, wire.CodeFull)                                               // its /24 has used its quota
	next(netip.AddrFrom16(from(1, 3).As16()), false, wire.CodeFull)                      // in IPv6 form too
	next(from(2, 3), false, wire.CodeOK)                                                 // another has not
	next(from(1, 3), true, wire.CodeOK)                                                  // a neighbour has more
	next(from(1, 4), true, wire.CodeOK)                                                  //
	next(from(1, 5), true, wire.CodeOK)                                                  //
	next(from(1, 6), true, wire.CodeFull)                                                //
	next(netip.MustParseAddr("2001:db8:1:1::1"), false, wire.CodeOK)                     //
	next(netip.MustParseAddr("2001:db8:1:1::2%eth0"), false, wire.CodeOK)                //
	next(netip.MustParseAddr("2001:db8:1:1:ffff::1"), false, wire.CodeFull)              // the same /64
	next(netip.MustParseAddr("2001:db8:1:2::1"), false, wire.CodeOK)                     //
	for _, free := range []string{"127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"} { // loopback is exempt
		for range 5 {
			next(netip.MustParseAddr(free), false, wire.CodeOK)
		}
	}
	for range 5 { // and so is the node's own user
		next(netip.Addr{}, true, wire.CodeOK)
	}
	s.Expire(after(time.Hour))
	if s.Bytes() != 0 || len(s.x.use.by) != 0 {
		t.Errorf("all is over, and %d bytes are held against %v", s.Bytes(), s.x.use.by)
	}
	wantPutItem(t, s, after(time.Hour), Item{Record: open(t, 1, 0, 1, after(2*time.Hour), "v"), Source: from(1, 1)}, wire.CodeOK)
}

// With few neighbours, each may use its share of the store: a new node may receive all of its
// records from one of them.
func TestFewNeighboursShareTheStore(t *testing.T) {
	for neighbours, want := range map[int]int{0: 2, 1: 6, 2: 4, 3: 2, 4: 2, 100: 2} {
		s := newMemory(Limits{Bytes: 8 * unit(t), SourceBytes: unit(t), ShareBytes: 2 * unit(t)})
		taken := 0
		for i := range 9 {
			if put(s, noon, Item{Record: small(t, 8-i), Source: from(1, 1), Neighbour: true, Neighbours: neighbours}) == wire.CodeOK && s.Len() > taken {
				taken++
			}
		}
		if taken != want {
			t.Errorf("one of %d neighbours has put %d records where 8 have room, want %d", neighbours, taken, want)
		}
		wantPut(t, s, noon, small(t, 900), wire.CodeOK) // of the node's own user, at any distance
		wantPutItem(t, s, noon, Item{Record: small(t, 901), Source: netip.MustParseAddr("203.0.113.1")}, wire.CodeOK)
	}
}

// All peers of a home may be in one private network: each private address is a separate
// source, also after a restart.
func TestPrivateSourcesCountAlone(t *testing.T) {
	d, _ := newDisk(t, Limits{SourceBytes: unit(t)})
	for i, a := range []string{"192.168.1.2", "192.168.1.3", "::ffff:192.168.1.4", "10.0.0.5", "198.18.0.1"} {
		wantPutItem(t, d, noon, Item{Record: small(t, i), Source: netip.MustParseAddr(a)}, wire.CodeOK)
	}
	wantPutItem(t, d, noon, Item{Record: small(t, 10), Source: netip.MustParseAddr("198.18.0.2")}, wire.CodeFull)
	d = again(t, d, noon)
	wantPutItem(t, d, noon, Item{Record: small(t, 10), Source: netip.MustParseAddr("192.168.1.4")}, wire.CodeFull)
	wantPutItem(t, d, noon, Item{Record: small(t, 10), Source: netip.MustParseAddr("192.168.1.5")}, wire.CodeOK)
}

// A record that others republish counts once, against its first source.
func TestRepublishCostsTheSenderNothing(t *testing.T) {
	s := newMemory(Limits{SourceBytes: unit(t)})
	wantPutItem(t, s, noon, Item{Record: small(t, 1), Source: from(1, 1)}, wire.CodeOK)
	wantPutItem(t, s, noon, Item{Record: small(t, 1), Source: from(2, 1)}, wire.CodeOK)
	wantPutItem(t, s, noon, Item{Record: small(t, 2), Source: from(2, 1)}, wire.CodeOK)
	wantPutItem(t, s, noon, Item{Record: small(t, 3), Source: from(1, 1)}, wire.CodeFull)
}

// Tiny records under all keys, with all lives, from all sources.
func TestHostileFloodStaysInBounds(t *testing.T) {
	l := Limits{Bytes: 200_000, Records: 150, SourceBytes: 50_000}
	s := newMemory(l)
	for i := range 2000 {
		r := small(t, i*7919%65536)
		if i%3 == 0 {
			r = owned(t, string(rune(i)), i%8, uint64(i), after(time.Duration(1+i%50)*time.Second), "o")
		}
		put(s, after(time.Duration(i)*10*time.Millisecond), Item{Record: r, Source: from(i%1000, i%256), Cached: i%5 == 0})
		if s.Bytes() > l.Bytes || s.Len() > l.Records || len(s.x.order) > l.Records || len(s.x.use.by) > l.Records {
			t.Fatalf("after %d: %d bytes, %d records, %d entries, %d sources", i, s.Bytes(), s.Len(), len(s.x.order), len(s.x.use.by))
		}
	}
	check(t, s.x)
}

// check recounts everything and compares.
func check(t interface{ Fatalf(string, ...any) }, x *index) {
	by, bytes := make(map[account]int64), int64(0)
	live, entries := 0, 0
	for sl, e := range x.slots {
		for prev := (*entry)(nil); e != nil; prev, e = e, e.next {
			entries++
			bytes += int64(e.size)
			if e.from != &x.use.exempt {
				by[e.from.account] += int64(e.size)
			}
			if !e.tomb {
				live++
			}
			if e.slot != sl || x.order[e.index] != e || prev != nil && !x.better(prev, e) {
				t.Fatalf("entry %+v is not where it belongs", e)
			}
		}
	}
	if bytes != x.use.bytes || len(by) != len(x.use.by) || live != x.live || entries != len(x.order) {
		t.Fatalf("counted %d bytes of %d sources, %d of %d live; kept %d, %d, %d of %d",
			bytes, len(by), live, entries, x.use.bytes, len(x.use.by), x.live, len(x.order))
	}
	wider := make(map[netip.Prefix]int64)
	for a, n := range by {
		for _, p := range netgroup.Wider(a.source) {
			wider[p] += n
		}
	}
	if !maps.Equal(wider, x.use.wider) {
		t.Fatalf("counted %v in wider networks, kept %v", wider, x.use.wider)
	}
	for a, n := range by {
		if x.use.by[a].bytes != n {
			t.Fatalf("source %v has %d bytes, counted %d", a, x.use.by[a].bytes, n)
		}
	}
}

// Overhead covers the cost of a record beyond its payload, so that Bytes bounds memory.
func TestOverheadCoversWhatARecordCosts(t *testing.T) {
	const n = 2000
	stored := make([][]byte, n)
	for i := range stored {
		stored[i] = wire.AppendSigned(nil, small(t, i))
	}
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	s := newMemory(Limits{})
	before := heap()
	for _, b := range stored {
		r, err := wire.ParseSigned(b)
		if err != nil {
			t.Fatal(err)
		}
		put(s, noon, Item{Record: r, Source: from(len(s.x.order), 1)})
	}
	cost := int64(heap()-before) / n
	t.Logf("a record of %d bytes costs %d, counted as %d", len(small(t, 0).Payload), cost, s.Bytes()/n)
	if cost > s.Bytes()/n {
		t.Errorf("a record costs %d bytes of memory and counts as %d", cost, s.Bytes()/n)
	}
	runtime.KeepAlive(stored)
	runtime.KeepAlive(s)
}

func TestDefaults(t *testing.T) {
	want := Limits{Bytes: 64 << 20, Records: 100_000, SourceBytes: 4 << 20, ShareBytes: 1 << 20, NeighbourBytes: 16 << 20, KeyBytes: 2 << 20, KeyRecords: 1024}
	if got := NewMemory(routing.Key{}, Limits{}).x.limits; got != want {
		t.Errorf("the limits are %+v, want %+v", got, want)
	}
}

func TestCachedThatBecameOursStays(t *testing.T) {
	s := newMemory(Limits{Records: 2})
	wantPutItem(t, s, noon, Item{Record: small(t, 300), Cached: true}, wire.CodeOK)
	wantPutItem(t, s, noon, Item{Record: small(t, 600), Cached: true}, wire.CodeOK)
	wantPut(t, s, noon, small(t, 600), wire.CodeOK)
	wantPut(t, s, noon, small(t, 700), wire.CodeOK)
	if m := held(s, noon); len(m) != 2 || m[300].Size != 0 {
		t.Errorf("held %v, want the other cached copy gone", m)
	}
}

func TestUnderOneKeyTheWorseGivesWay(t *testing.T) {
	at := func(i int, expiry time.Duration) Item {
		return Item{Record: open(t, 500, i, 1, after(expiry), "value"), Cached: true}
	}
	a, b, c := at(0, 3*time.Hour), at(1, time.Hour), at(2, 2*time.Hour)
	s := newMemory(Limits{Records: 3})
	for _, it := range []Item{a, b, c} {
		wantPutItem(t, s, noon, it, wire.CodeOK)
	}
	wantPut(t, s, noon, small(t, 300), wire.CodeOK)
	wantGet(t, s, noon, a.Record, a.Record, c.Record)
	wantPutItem(t, s, noon, b, wire.CodeTooFar)
	wantPut(t, s, noon, small(t, 310), wire.CodeOK)
	wantGet(t, s, noon, a.Record, a.Record)
}

// Sixteen networks, whatever a network is and however they divide it, cannot take more than half of
// the store. The rest is kept for others, whose records are accepted, and nothing that was
// acknowledged goes.
func TestSixteenNetworksCannotFillTheStore(t *testing.T) {
	const most = 640
	v6 := func(format string, args ...any) netip.Addr { return netip.MustParseAddr(fmt.Sprintf(format, args...)) }
	attackers := map[string]func(i int) netip.Addr{
		"16 /24s of other /16s": func(i int) netip.Addr { return netip.AddrFrom4([4]byte{40, byte(i % 16), 1, byte(i)}) },
		"all /24s of one /16":   func(i int) netip.Addr { return netip.AddrFrom4([4]byte{40, 1, byte(i), 1}) },
		"one /24":               func(i int) netip.Addr { return netip.AddrFrom4([4]byte{40, 1, 1, byte(i)}) },
		"all /64s of one /56":   func(i int) netip.Addr { return v6("2a00:1:1:%x::1", i%256) },
		"all /56s of one /48":   func(i int) netip.Addr { return v6("2a00:1:1:%x00::1", i%256) },
		"many /48s of one /32":  func(i int) netip.Addr { return v6("2a00:1:%x::1", i) },
		"16 /16s, one of them first": func(i int) netip.Addr {
			return netip.AddrFrom4([4]byte{40, byte(max(0, i-most/4) % 16), 1, 1})
		},
		"16 /32s":         func(i int) netip.Addr { return v6("2a00:%x:%x::1", i%16, i) },
		"6to4 of one /24": func(i int) netip.Addr { return v6("2002:2801:01%02x:%x::1", i%256, i) },
	}
	for name, from := range attackers {
		t.Run(name, func(t *testing.T) {
			s := newMemory(Limits{Bytes: most * unit(t), SourceBytes: most * unit(t)})
			honest := small(t, 60000)
			wantPutItem(t, s, noon, Item{Record: honest, Source: netip.MustParseAddr("203.0.113.1")}, wire.CodeOK)
			taken := 0
			for i := range 2 * most {
				if put(s, noon, Item{Record: small(t, i), Source: from(i), Neighbour: i%2 == 0, Neighbours: 20}) == wire.CodeOK {
					taken++
				}
			}
			if taken > most/2 || !strings.HasPrefix(name, "16") && taken > most/4 {
				t.Errorf("%d of %d records were taken", taken, most)
			}
			if !s.Has(noon, honest) {
				t.Error("an acknowledged record is gone")
			}
			for i := range 10 { // of networks that hold nothing yet
				wantPutItem(t, s, noon, Item{Record: small(t, 61000+i), Source: netip.AddrFrom4([4]byte{60, byte(i), 1, 1})}, wire.CodeOK)
			}
			check(t, s.x)
		})
	}
}
