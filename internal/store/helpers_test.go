package store

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// noon is the time at which the tests begin.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func after(d time.Duration) time.Time { return noon.Add(d) }

// key returns a key whose distance from the zero key, which is the node's key in these tests,
// grows with i; i is at most 65535.
func key(i int) routing.Key { return routing.Key{byte(i >> 8), byte(i), 31: 1} }

var publishers = func() (keys []ed25519.PrivateKey) {
	for i := range 1200 {
		keys = append(keys, ed25519.NewKeyFromSeed([]byte(fmt.Sprintf("%032d", i))))
	}
	return keys
}()

// open signs an open record under key(k), of the ith publisher.
func open(t testing.TB, k, i int, seq uint64, expiry time.Time, value string) *wire.Signed {
	t.Helper()
	return sign(t, wire.Record{Kind: wire.KindOpen, Key: key(k), Seq: seq, Expiry: expiry, Value: []byte(value)}, i)
}

// owned signs the record that the ith publisher keeps under name.
func owned(t testing.TB, name string, i int, seq uint64, expiry time.Time, value string) *wire.Signed {
	t.Helper()
	return sign(t, wire.Record{Kind: wire.KindOwned, Name: []byte(name), Seq: seq, Expiry: expiry, Value: []byte(value)}, i)
}

func content(t testing.TB, i int, expiry time.Time, value string) *wire.Signed {
	t.Helper()
	return sign(t, wire.Record{Kind: wire.KindContent, Expiry: expiry, Value: []byte(value)}, i)
}

// provider signs a provider record under key(k), of the ith publisher, with or without
// an address.
func provider(t testing.TB, k, i int, seq uint64, expiry time.Time, addressed bool) *wire.Signed {
	t.Helper()
	r := wire.Record{Kind: wire.KindProvider, Key: key(k), Seq: seq, Expiry: expiry}
	if addressed {
		info := wire.PeerInfo{Mode: wire.ModeServer, Addrs: []wire.Addr{wire.AddrFrom(netip.MustParseAddrPort("198.18.0.1:4774"))}}
		var err error
		if r.Value, err = info.Value(); err != nil {
			t.Fatal(err)
		}
	}
	return sign(t, r, i)
}

func sign(t testing.TB, r wire.Record, i int) *wire.Signed {
	t.Helper()
	s, err := wire.Sign(r, publishers[i])
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// newMemory returns a store of the node at the zero key.
func newMemory(l Limits) *Memory { return NewMemory(routing.Key{}, l) }

// put offers one item, and returns the answer as a code.
func put(s Store, now time.Time, it Item) wire.Code {
	err := s.Put(now, []Item{it})[0]
	if err == nil {
		return wire.CodeOK
	}
	var code wire.Code
	if !errors.As(err, &code) {
		panic(fmt.Sprintf("Put answers with %v, which is no wire.Code", err))
	}
	return code
}

// wantPut offers a record of the node's own user, and compares the answer.
func wantPut(t testing.TB, s Store, now time.Time, r *wire.Signed, want wire.Code) {
	t.Helper()
	wantPutItem(t, s, now, Item{Record: r}, want)
}

func wantPutItem(t testing.TB, s Store, now time.Time, it Item, want wire.Code) {
	t.Helper()
	if got := put(s, now, it); got != want {
		t.Errorf("put of %q, sequence %d: %v, want %v", it.Record.Record.Value, it.Record.Record.Seq, got, want)
	}
}

// wantGet compares the records found under r's key, in order.
func wantGet(t testing.TB, s Store, now time.Time, r *wire.Signed, want ...*wire.Signed) {
	t.Helper()
	got := s.Get(now, r.Record.Kind, r.Record.Key, 100)
	if len(got) != len(want) {
		t.Errorf("found %d records, want %d", len(got), len(want))
		return
	}
	for i := range got {
		if !same(got[i], want[i]) {
			t.Errorf("record %d is %q of sequence %d, want %q of %d", i,
				got[i].Record.Value, got[i].Record.Seq, want[i].Record.Value, want[i].Record.Seq)
		}
	}
}

// held returns the numbers of the keys that are held, as passed to key.
func held(s Store, now time.Time) map[int]Held {
	m := make(map[int]Held)
	for h := range s.All(now) {
		m[int(h.Key[0])<<8|int(h.Key[1])] = h
	}
	return m
}

// from returns the ith address of the ath /24.
func from(a, i int) netip.Addr { return netip.AddrFrom4([4]byte{198, byte(a >> 8), byte(a), byte(i)}) }

// told returns the Held that All yields for r.
func told(r *wire.Signed, received, until time.Time, cached bool) Held {
	return Held{
		Kind: r.Record.Kind, Key: r.Record.Key, Publisher: r.Record.Publisher, Seq: r.Record.Seq, Expiry: r.Record.Expiry,
		Print: r.Print(), Size: r.Size(), Received: received, Until: until, Cached: cached,
	}
}
