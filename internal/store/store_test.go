package store

import (
	"strings"
	"testing"
	"time"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

func TestPutThenGet(t *testing.T) {
	s := newMemory(Limits{})
	r := open(t, 1, 0, 1, after(time.Hour), "\xff\x00 any bytes")
	wantGet(t, s, noon, r)
	wantPut(t, s, noon, r, wire.CodeOK)
	wantGet(t, s, noon, r, r)
	if !s.Has(noon, r) || s.Has(noon, open(t, 1, 0, 2, after(time.Hour), "")) || s.Len() != 1 {
		t.Errorf("Has says %v, %d records held", s.Has(noon, r), s.Len())
	}
	if got := s.Get(noon, wire.KindOpen, key(1), 0); len(got) != 0 {
		t.Errorf("asked for none, found %d", len(got))
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestBatchIsAnsweredOneByOne(t *testing.T) {
	s := newMemory(Limits{})
	good := open(t, 1, 0, 1, after(time.Hour), "good")
	over := open(t, 2, 0, 1, after(-time.Second), "over")
	errs := s.Put(noon, []Item{{Record: good}, {Record: over}, {}, {Record: good}})
	if len(errs) != 4 || errs[0] != nil || errs[1] != wire.CodeExpired || errs[2] != wire.CodeInvalid || errs[3] != nil {
		t.Errorf("answers %v", errs)
	}
}

func TestKindsNeverCompete(t *testing.T) {
	s := newMemory(Limits{})
	c := content(t, 0, after(time.Hour), "the value")
	o := sign(t, wire.Record{Kind: wire.KindOpen, Key: c.Record.Key, Seq: 9, Expiry: after(2 * time.Hour), Value: []byte("noise")}, 1)
	wantPut(t, s, noon, c, wire.CodeOK)
	wantPut(t, s, noon, o, wire.CodeOK)
	wantGet(t, s, noon, c, c)
	wantGet(t, s, noon, o, o)
}

func TestContentKeepsTheLongerLife(t *testing.T) {
	s := newMemory(Limits{})
	short := content(t, 0, after(time.Hour), "v")
	long := content(t, 1, after(2*time.Hour), "v")
	wantPut(t, s, noon, short, wire.CodeOK)
	wantPut(t, s, noon, long, wire.CodeOK)
	wantPut(t, s, noon, short, wire.CodeOK) // the value is already held, and for longer
	wantGet(t, s, noon, long, long)

	// A cached copy with a longer life is still dropped earlier.
	other := content(t, 0, after(time.Hour), "w")
	wantPut(t, s, noon, other, wire.CodeOK)
	wantPutItem(t, s, noon, Item{Record: content(t, 1, after(9*time.Hour), "w"), Cached: true, Life: time.Minute}, wire.CodeOK)
	wantGet(t, s, after(30*time.Minute), other, other)
}

func TestOwnedRefusesTheOlder(t *testing.T) {
	s := newMemory(Limits{})
	second := owned(t, "name", 0, 2, after(time.Hour), "second")
	wantPut(t, s, noon, second, wire.CodeOK)
	wantPut(t, s, noon, owned(t, "name", 0, 1, after(9*time.Hour), "first"), wire.CodeStale)
	wantPut(t, s, noon, owned(t, "name", 0, 2, after(time.Minute), "shorter"), wire.CodeStale)
	wantGet(t, s, noon, second, second)
	third := owned(t, "name", 0, 3, after(time.Minute), "third")
	wantPut(t, s, noon, third, wire.CodeOK)
	wantGet(t, s, noon, second, third)
}

func TestSequenceIsRememberedSevenDays(t *testing.T) {
	for _, swept := range []bool{true, false} {
		s := newMemory(Limits{})
		wantPut(t, s, noon, owned(t, "name", 0, 7, after(time.Hour), "seven"), wire.CodeOK)
		if swept {
			if n := s.Expire(after(time.Hour)); n != 1 || s.Len() != 0 {
				t.Errorf("Expire dropped %d, left %d", n, s.Len())
			}
		}
		later := after(6 * 24 * time.Hour)
		six := owned(t, "name", 0, 6, later.Add(2*time.Hour), "six")
		wantPut(t, s, later, six, wire.CodeStale)
		wantGet(t, s, later, six)
		again := owned(t, "name", 0, 7, later.Add(time.Hour), "seven, signed anew")
		wantPut(t, s, later, again, wire.CodeOK)
		wantGet(t, s, later, again, again)

		forgotten := later.Add(SeqMemory)
		s.Expire(forgotten)
		s.Expire(forgotten) // the record went by the first, its sequence may by either
		if s.Bytes() != 0 {
			t.Errorf("%d bytes held when all is over", s.Bytes())
		}
		wantPut(t, s, forgotten, owned(t, "name", 0, 1, forgotten.Add(time.Hour), "one"), wire.CodeOK)
	}
}

func TestCompareAndSet(t *testing.T) {
	s := newMemory(Limits{})
	putIf := func(now time.Time, seq, expect uint64, want wire.Code) {
		t.Helper()
		r := owned(t, "name", 0, seq, now.Add(time.Hour), "v")
		wantPutItem(t, s, now, Item{Record: r, IfSeq: &expect}, want)
	}
	wantSeq := func(now time.Time, want uint64, ok bool) {
		t.Helper()
		if seq, got := s.Seq(now, owned(t, "name", 0, 1, now, "").Record.Key); seq != want || got != ok {
			t.Errorf("sequence %d, %v, want %d, %v", seq, got, want, ok)
		}
	}
	wantSeq(noon, 0, false)
	putIf(noon, 5, 1, wire.CodeConflict)
	putIf(noon, 5, 0, wire.CodeOK)
	putIf(noon, 5, 0, wire.CodeOK) // its answer was lost, and the sender repeats it
	putIf(noon, 6, 0, wire.CodeConflict)
	putIf(noon, 6, 5, wire.CodeOK)
	wantSeq(noon, 6, true)
	putIf(noon, 6, 5, wire.CodeOK)
	putIf(noon, 5, 6, wire.CodeStale)
	// The record ends, its sequence stays.
	later := after(2 * time.Hour)
	wantSeq(later, 6, true)
	putIf(later, 7, 0, wire.CodeConflict)
	putIf(later, 7, 6, wire.CodeOK)
	zero := uint64(0)
	wantPutItem(t, s, noon, Item{Record: small(t, 1), IfSeq: &zero}, wire.CodeInvalid) // of owned records only
}

// Kademlia §2.5: a STORE or an OFFER within the hour suppresses the republish, unless its
// sender did not send it to the other holders.
func TestReceiptSuppressesRepublishing(t *testing.T) {
	s := newMemory(Limits{})
	r := small(t, 1)
	offer := []wire.Offered{
		{Kind: r.Record.Kind, Key: r.Record.Key, Print: r.Print()},
		{Kind: r.Record.Kind, Key: r.Record.Key, Print: wire.Print{1}},
		{Kind: wire.KindContent, Key: r.Record.Key, Print: r.Print()},
	}
	received := func(now time.Time) time.Time { return held(s, now)[1].Received }
	wantPutItem(t, s, noon, Item{Record: r, NoSuppress: true}, wire.CodeOK)
	now := after(10 * time.Minute)
	wantPutItem(t, s, now, Item{Record: r, NoSuppress: true}, wire.CodeOK)
	if want := s.Offer(now, offer, func(int) bool { return false }); want[0] || !want[1] || !want[2] {
		t.Errorf("wanted: %v", want)
	}
	s.Offer(now, offer, nil)
	if !received(now).Equal(noon) {
		t.Errorf("received at %v, from a sender that suppresses nothing", received(now))
	}
	s.Offer(now, offer, func(i int) bool { return i == 0 })
	if !received(now).Equal(now) {
		t.Errorf("received at %v, want %v", received(now), now)
	}
	wantPut(t, s, after(20*time.Minute), r, wire.CodeOK)
	if now := after(20 * time.Minute); !received(now).Equal(now) {
		t.Errorf("received at %v, want %v", received(now), now)
	}
	if want := s.Offer(after(time.Hour), offer, nil); !want[0] {
		t.Error("not wanted, though it has ended")
	}
}

func TestOpenKeepsEveryPublisher(t *testing.T) {
	s := newMemory(Limits{})
	a := open(t, 1, 0, 5, after(time.Hour), "a")
	b := open(t, 1, 1, 1, after(3*time.Hour), "b")
	c := open(t, 1, 2, 9, after(2*time.Hour), "c")
	for _, r := range []*wire.Signed{a, b, c} {
		wantPut(t, s, noon, r, wire.CodeOK)
	}
	wantGet(t, s, noon, a, b, c, a) // the later expiry first
	if got := s.Get(noon, wire.KindOpen, key(1), 2); len(got) != 2 || got[0] != b {
		t.Errorf("the best two are %v", got)
	}
	// Put, put, get gives the second value, though it ends earlier.
	b2 := open(t, 1, 1, 2, after(time.Minute), "b, second")
	wantPut(t, s, noon, b2, wire.CodeOK)
	wantPut(t, s, noon, b, wire.CodeStale)
	wantGet(t, s, noon, a, c, a, b2)
	wantGet(t, s, after(time.Hour), a, c)
}

func TestPeerRecordIsNewestOnly(t *testing.T) {
	s := newMemory(Limits{})
	peer := func(seq uint64) *wire.Signed {
		value, _ := wire.PeerInfo{Mode: wire.ModeServer}.Value()
		return sign(t, wire.Record{Kind: wire.KindPeer, Seq: seq, Expiry: after(time.Hour), Value: value}, 0)
	}
	two := peer(2)
	wantPut(t, s, noon, two, wire.CodeOK)
	wantPut(t, s, noon, peer(1), wire.CodeStale)
	wantGet(t, s, noon, two, two)
}

func TestUnknownKindIsRefused(t *testing.T) {
	s := newMemory(Limits{})
	for _, k := range []wire.Kind{0, wire.KindProvider + 1, 255} {
		r := &wire.Signed{Record: wire.Record{Kind: k, Expiry: after(time.Hour)}, Payload: []byte("x")}
		wantPut(t, s, noon, r, wire.CodeInvalid)
	}
}

func TestRecordEndsAtItsExpiry(t *testing.T) {
	s := newMemory(Limits{})
	r := open(t, 1, 0, 1, after(time.Hour), "v")
	wantPut(t, s, noon, r, wire.CodeOK)
	wantPut(t, s, after(59*time.Minute), r, wire.CodeOK) // a republish lengthens nothing
	if !s.Has(after(time.Hour-1), r) || s.Has(after(time.Hour), r) || len(held(s, after(time.Hour))) != 0 {
		t.Error("the record does not end when its signature says")
	}
	if n := s.Expire(after(time.Hour - 1)); n != 0 {
		t.Errorf("Expire dropped %d too early", n)
	}
	if n := s.Expire(after(time.Hour)); n != 1 || s.Len() != 0 || s.Bytes() != 0 {
		t.Errorf("Expire dropped %d, %d bytes left", n, s.Bytes())
	}
	wantPut(t, s, after(time.Hour), r, wire.CodeExpired)
}

// Even a record with an absurdly late expiry is kept for only a day.
func TestNothingIsKeptBeyondADay(t *testing.T) {
	s := newMemory(Limits{})
	wantPut(t, s, noon, open(t, 1, 0, 1, after(1e6*time.Hour), "v"), wire.CodeOK)
	s.Expire(after(wire.MaxTTL + wire.MaxSkew))
	if s.Len() != 0 {
		t.Error("still held")
	}
}

// The life of a record is measured by the monotonic clock from its receipt. Its end keeps the
// monotonic reading of the time of receipt, and a later receipt does not recompute it.
func TestEndIsByTheProcessClock(t *testing.T) {
	start := time.Now()
	s := newMemory(Limits{})
	r := open(t, 1, 0, 1, start.Add(time.Hour), "v")
	wantPut(t, s, start, r, wire.CodeOK)
	wantPut(t, s, start.Add(10*time.Minute).Round(0), r, wire.CodeOK)
	if h := held(s, start)[1]; !h.Until.Equal(r.Record.Expiry) || !strings.Contains(h.Until.String(), "m=") {
		t.Errorf("dropped at %v, want the signed expiry with a monotonic reading", h.Until)
	}
}

func TestRepublishIsNoted(t *testing.T) {
	s := newMemory(Limits{})
	r := open(t, 1, 0, 1, after(5*time.Hour), "v")
	wantPut(t, s, noon, r, wire.CodeOK)
	wantPut(t, s, after(time.Hour), r, wire.CodeOK)
	want := told(r, after(time.Hour), after(5*time.Hour), false)
	if got := held(s, after(2*time.Hour))[1]; got != want {
		t.Errorf("held %+v, want %+v", got, want)
	}
}

func TestCachedCopyIsShortLived(t *testing.T) {
	s := newMemory(Limits{})
	r := open(t, 1, 0, 1, after(5*time.Hour), "v")
	wantPutItem(t, s, noon, Item{Record: r, Cached: true, Life: 5 * time.Minute}, wire.CodeOK)
	if h := held(s, noon)[1]; !h.Cached || !h.Until.Equal(after(5*time.Minute)) {
		t.Errorf("held %+v", h)
	}
	wantGet(t, s, after(5*time.Minute), r)
	// The node has become one of the nearest: it now keeps the record.
	wantPut(t, s, after(4*time.Minute), r, wire.CodeOK)
	if h := held(s, after(4*time.Minute))[1]; h.Cached || !h.Until.Equal(after(5*time.Hour)) {
		t.Errorf("held %+v", h)
	}
	// A cached copy does not undo that.
	wantPutItem(t, s, after(time.Hour), Item{Record: r, Cached: true, Life: time.Minute}, wire.CodeOK)
	if h := held(s, after(time.Hour))[1]; h.Cached || !h.Until.Equal(after(5*time.Hour)) {
		t.Errorf("held %+v", h)
	}
}

// Kademlia §2.3: the life falls exponentially with the number of nodes between holder and key.
func TestCacheLife(t *testing.T) {
	for _, c := range []struct {
		kind   wire.Kind
		nearer int
		want   time.Duration
	}{
		{wire.KindContent, 0, 16 * time.Hour},
		{wire.KindContent, 20, 16 * time.Hour},
		{wire.KindContent, 21, 8 * time.Hour},
		{wire.KindContent, 24, time.Hour},
		{wire.KindContent, 1 << 40, 0},
		{wire.KindOwned, 20, 16 * time.Hour},
		{wire.KindOwned, 21, 5 * time.Minute},
		{wire.KindOpen, 21, 5 * time.Minute},
		{wire.KindPeer, 21, 5 * time.Minute},
		{wire.KindProvider, 21, 5 * time.Minute},
	} {
		if got := CacheLife(c.kind, 16*time.Hour, c.nearer, 20); got != c.want {
			t.Errorf("kind %d with %d nearer lives %v, want %v", c.kind, c.nearer, got, c.want)
		}
	}
}

func TestAllMayCallTheStore(t *testing.T) {
	s := newMemory(Limits{})
	for i := range 10 {
		wantPut(t, s, noon, open(t, i, 0, 1, after(time.Hour), "v"), wire.CodeOK)
	}
	n := 0
	for h := range s.All(noon) {
		n++
		wantPut(t, s, noon, open(t, 100+n, 0, 1, after(time.Hour), "new"), wire.CodeOK)
		if r := s.Load(noon, h); r == nil || r.Print() != h.Print {
			t.Errorf("loaded %v, want %+v", r, h)
		}
		if n == 5 {
			s.Expire(after(time.Hour)) // dropped records are not yielded
		}
	}
	if n != 5 {
		t.Errorf("All yielded %d, want the five before Expire", n)
	}
	for range s.All(noon) {
		break
	}
}

func TestEmptyStore(t *testing.T) {
	s := newMemory(Limits{})
	if s.Expire(noon) != 0 || s.Len() != 0 || s.Bytes() != 0 || s.Get(noon, wire.KindOpen, routing.Key{}, 1) != nil {
		t.Error("an empty store holds something")
	}
	for range s.All(noon) {
		t.Error("an empty store yields something")
	}
}
