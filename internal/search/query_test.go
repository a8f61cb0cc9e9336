package search

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

func open(t *testing.T, publisher int, key routing.Key, seq uint64) *wire.Signed {
	return signed(t, publisher, wire.Record{Kind: wire.KindOpen, Key: key, Seq: seq, Value: []byte{byte(seq)}})
}

func TestQueryEndsAtTheQuorum(t *testing.T) {
	inNetwork(t, 6, nil, func(t *testing.T, w *network) {
		key := routing.KeyOf("x")
		if _, _, err := w.Query(t.Context(), Query{Key: key, Kind: wire.KindOpen}); !errors.Is(err, ErrNotFound) {
			t.Errorf("of nothing: %v", err)
		}
		r := open(t, 100, key, 1)
		for _, p := range w.near(key)[:4] {
			w.hold(p, r)
		}
		for quorum, want := range map[int]int{0: 1, 2: 2, All: 4} {
			best, answers, err := w.Query(t.Context(), Query{Key: key, Kind: wire.KindOpen, Quorum: quorum, ReadOnly: true})
			if err != nil || best.Record == nil || best.Record.Signature != r.Signature || best.Peer == nil || best.Peer.ID() != best.From {
				t.Errorf("quorum %d: %+v, %v", quorum, best, err)
			}
			if answers < want || answers > 4 || quorum == All && answers != 4 {
				t.Errorf("quorum %d: %d answers, want %d", quorum, answers, want)
			}
		}
	})
}

// What the node holds itself counts as an answer. If no peer answers, it is returned with
// an error, unless it suffices.
func TestQueryBeginsWithOwnRecords(t *testing.T) {
	inNetwork(t, 3, nil, func(t *testing.T, w *network) {
		key := routing.KeyOf("x")
		r := open(t, 100, key, 1)
		if err := w.StoreAt(t.Context(), w.self, r, nil); err != nil {
			t.Fatal(err)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if best, answers, err := w.Query(ended, Query{Key: key, Kind: wire.KindOpen}); err != nil || best.From != w.self || best.Peer != nil || answers != 1 {
			t.Errorf("it suffices: %+v, %d, %v", best, answers, err)
		}
		for _, p := range w.peers {
			p.reply = func(wire.Message) wire.Message { return nil }
		}
		best, _, err := w.Query(t.Context(), Query{Key: key, Kind: wire.KindOpen, Quorum: 2})
		if best.Record == nil || !errors.Is(err, errUnreachable) {
			t.Errorf("no peer answers: %+v, %v", best, err)
		}
		w.running = false
		if _, _, err := w.Query(t.Context(), Query{Key: key, Kind: wire.KindOpen}); !errors.Is(err, errNotRunning) {
			t.Errorf("not running: %v", err)
		}
	})
}

// Read repair reaches every holder of an older record that a get has met, not only one of
// them, and this node.
func TestReadRepairReachesAllBehind(t *testing.T) {
	inNetwork(t, 4, nil, func(t *testing.T, w *network) {
		older := signed(t, 100, wire.Record{Kind: wire.KindOwned, Name: []byte("n"), Seq: 1})
		newer := signed(t, 100, wire.Record{Kind: wire.KindOwned, Name: []byte("n"), Seq: 2})
		key := older.Record.Key
		for i, p := range w.near(key) {
			if i == 2 {
				w.hold(p, newer)
			} else {
				w.hold(p, older)
			}
		}
		if err := w.StoreAt(t.Context(), w.self, older, nil); err != nil {
			t.Fatal(err)
		}
		q := Query{Key: key, Kind: wire.KindOwned, Quorum: All, ReadOnly: true}
		w.Query(t.Context(), q)
		time.Sleep(time.Second)
		if held := w.holders(newer); !slices.Equal(held, []int{2}) {
			t.Errorf("after a query that is read-only it is at %v", held)
		}
		q.ReadOnly = false
		if best, _, err := w.Query(t.Context(), q); err != nil || best.Record.Record.Seq != 2 {
			t.Errorf("found %+v, %v", best.Record, err)
		}
		time.Sleep(time.Second)
		if held := w.holders(newer); !slices.Equal(held, []int{0, 1, 2, 3}) {
			t.Errorf("after the repair the newer record is at %v, want everywhere", held)
		}
		if !w.own.Has(time.Now(), newer) {
			t.Error("this node keeps the older one")
		}
	})
}

// A get leaves a copy at the nearest node that had none (Kademlia §2.3).
func TestGetCachesAtTheNearestWithout(t *testing.T) {
	inNetwork(t, 4, nil, func(t *testing.T, w *network) {
		key := routing.KeyOf("popular")
		r := open(t, 100, key, 1)
		for _, i := range []int{1, 3} {
			w.hold(w.near(key)[i], r)
		}
		if _, _, err := w.Query(t.Context(), Query{Key: key, Kind: wire.KindOpen, Quorum: 3}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if held := w.holders(r); !slices.Equal(held, []int{0, 1, 3}) {
			t.Errorf("held at %v, want 0, 1, 3", held)
		}
	})
}

// Values and providers come in pages. Each publisher is found once, and its newer version
// again.
func TestResultsYieldEveryPublisher(t *testing.T) {
	for _, kind := range []wire.Kind{wire.KindOpen, wire.KindProvider} {
		inNetwork(t, 4, nil, func(t *testing.T, w *network) {
			w.isServer = false // so that all four are asked
			key := routing.KeyOf("crowd")
			for i := range 3 * wire.MaxPage {
				r := wire.Record{Kind: kind, Key: key, Seq: 1}
				if kind == wire.KindProvider {
					r.Value, _ = wire.PeerInfo{Mode: wire.ModeServer}.Value()
				}
				w.hold(w.peers[i%2], signed(t, 100+i, r))
			}
			seen := make(map[wire.PeerID]int)
			for r, err := range w.Results(t.Context(), Query{Key: key, Kind: kind, Quorum: All}) {
				if err != nil {
					t.Error(err)
					continue
				}
				seen[r.Record.Record.Publisher]++
			}
			for id, times := range seen {
				if times != 1 {
					t.Errorf("%s was found %d times", id, times)
				}
			}
			if len(seen) != 3*wire.MaxPage {
				t.Errorf("%v: %d found, want %d", kind, len(seen), 3*wire.MaxPage)
			}
		})
	}
}

// A peer that lies in its pages is asked few times, and its forgeries are not believed.
func TestLiarsAreAskedFewTimes(t *testing.T) {
	for name, c := range map[string]struct {
		lie         func(page, first []*wire.Signed) []*wire.Signed
		asks, found int
	}{
		"endless":       {func(page, _ []*wire.Signed) []*wire.Signed { return page }, MaxPages, MaxPages * wire.MaxPage},
		"the same page": {func(_, first []*wire.Signed) []*wire.Signed { return first }, 2, wire.MaxPage},
		"nothing":       {func(_, _ []*wire.Signed) []*wire.Signed { return nil }, 1, 0},
		"forged": {func(page, _ []*wire.Signed) []*wire.Signed {
			for i, r := range page {
				forged := *r
				forged.Signature[3] ^= 1
				page[i] = &forged
			}
			return page
		}, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inNetwork(t, 1, nil, func(t *testing.T, w *network) {
				key := routing.KeyOf("guestbook")
				var crowd []*wire.Signed
				for i := range (c.asks + 2) * wire.MaxPage {
					crowd = append(crowd, open(t, 2000+i, key, 1))
				}
				byPublisher(crowd)
				asks := 0
				w.peers[0].reply = func(m wire.Message) wire.Message {
					v, ok := m.(wire.FindValue)
					if !ok {
						return wire.Stored{Results: make([]wire.Code, 1)}
					}
					asks++
					i := slices.IndexFunc(crowd, func(r *wire.Signed) bool {
						return bytes.Compare(r.Record.Publisher[:], v.After[:]) > 0
					})
					return wire.Value{More: true, Records: c.lie(slices.Clone(crowd[i:][:wire.MaxPage]), crowd[:wire.MaxPage])}
				}
				found := 0
				for _, err := range w.Results(t.Context(), Query{Key: key, Kind: wire.KindOpen, Quorum: All}) {
					if err == nil {
						found++
					}
				}
				if asks != c.asks || found != c.found {
					t.Errorf("asked %d times and found %d, want %d and %d", asks, found, c.asks, c.found)
				}
			})
		})
	}
}

// Pages that bring nothing for the time of one request end the query.
func TestSilenceAfterTheFirstPage(t *testing.T) {
	inNetwork(t, 1, nil, func(t *testing.T, w *network) {
		key := routing.KeyOf("guestbook")
		w.peers[0].reply = func(m wire.Message) wire.Message {
			if m, ok := m.(wire.FindValue); ok && m.After == (wire.PeerID{}) {
				return wire.Value{More: true, Records: []*wire.Signed{open(t, 100, key, 1)}}
			}
			return nil
		}
		start, found := time.Now(), 0
		for range w.Results(t.Context(), Query{Key: key, Kind: wire.KindOpen, Quorum: All}) {
			found++
		}
		if took := time.Since(start); found != 1 || took > w.RPCTimeout {
			t.Errorf("found %d in %v", found, took)
		}
	})
}

func TestDurabilityReportsStaleHolders(t *testing.T) {
	inNetwork(t, 3, nil, func(t *testing.T, w *network) {
		w.isServer = false
		key := routing.KeyOf("x")
		near := w.near(key)
		w.hold(near[0], open(t, 100, key, 2))
		w.hold(near[1], open(t, 100, key, 1))
		holders, err := w.Durability(t.Context(), wire.KindOpen, key)
		if err != nil || len(holders) != 3 {
			t.Fatalf("%+v, %v", holders, err)
		}
		for i, h := range holders {
			if h.ID != near[i].id || h.IsBehind != (i == 1) || len(h.Records) != []int{1, 1, 0}[i] || h.Err != nil {
				t.Errorf("holder %d: %+v", i, h)
			}
		}
	})
}

func TestStandingFindsNewerVersions(t *testing.T) {
	inNetwork(t, 4, nil, func(t *testing.T, w *network) {
		var versions []*wire.Signed
		for seq := range uint64(3) {
			versions = append(versions, signed(t, 100, wire.Record{Kind: wire.KindOwned, Name: []byte("n"), Seq: seq + 1}))
		}
		key := versions[0].Record.Key
		w.hold(w.near(key)[1], versions[0])
		w.hold(w.near(key)[2], versions[1])
		if newest, ok := w.standing(t.Context(), versions[0]); !ok || newest.Record.Record.Seq != 2 {
			t.Errorf("above the first stands %+v, %v", newest.Record, ok)
		}
		if _, ok := w.standing(t.Context(), versions[2]); ok {
			t.Error("something stands above the third")
		}
		if all := w.Versions(t.Context(), wire.KindOwned, key); len(all) != 2 {
			t.Errorf("%d versions, want 2", len(all))
		}
	})
}
