package node

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/search"
	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// provided is the word of the i-th key that it provides what key stands for.
func provided(t *testing.T, i int, key routing.Key, addrs ...string) *wire.Signed {
	t.Helper()
	r := wire.Record{Kind: wire.KindProvider, Key: key, Seq: 1, Expiry: time.Now().Add(time.Hour)}
	info := wire.PeerInfo{Mode: wire.ModeServer}
	for _, a := range addrs {
		info.Addrs = append(info.Addrs, wire.AddrFrom(netip.MustParseAddrPort(a)))
	}
	if len(addrs) > 0 {
		var err error
		if r.Value, err = info.Value(); err != nil {
			t.Fatal(err)
		}
	}
	return signed(t, i, r)
}

// byPublisher sorts records as a page has them.
func byPublisher(rs []*wire.Signed) []*wire.Signed {
	slices.SortFunc(rs, func(a, b *wire.Signed) int {
		return bytes.Compare(a.Record.Publisher[:], b.Record.Publisher[:])
	})
	return rs
}

// found collects what FindProviders yields, and fails if any comes twice.
func found(t *testing.T, n *Node, key routing.Key) map[wire.PeerID]Provider {
	t.Helper()
	all := make(map[wire.PeerID]Provider)
	for p, err := range n.FindProviders(within(t, time.Minute), key) {
		if err != nil {
			if !errors.Is(err, ErrNotFound) || len(all) > 0 {
				t.Errorf("after %d providers: %v", len(all), err)
			}
			break
		}
		if _, again := all[p.ID]; again {
			t.Errorf("provider %s came twice", p.ID)
		}
		if p.From.IsZero() || p.Expiry.Before(time.Now()) {
			t.Errorf("provider: %+v", p)
		}
		all[p.ID] = p
	}
	return all
}

// A provider is found by a peer that has never met it, which can dial it at once.
func TestProvide(t *testing.T) {
	inSwarm(t, 30, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		key := routing.KeyOf("a book")
		providers := []*Node{s.nodes[3], s.nodes[17], s.add(Config{Mode: ModeClient})}
		for _, n := range providers {
			stored, err := n.Provide(within(t, time.Minute), key)
			if err != nil || stored.Count != 20 || stored.Of != 20 || stored.Key != key {
				t.Errorf("provide: %v, %v", stored, err)
			}
		}
		client := s.add(Config{Mode: ModeClient})
		for _, n := range []*Node{client, s.nodes[5], s.nodes[3]} { // a client, a server, a provider
			all := found(t, n, key)
			if len(all) != len(providers) {
				t.Errorf("%d providers found, want %d", len(all), len(providers))
			}
			for i, want := range providers {
				p := all[want.ID()]
				mode := ModeServer
				if i == 2 {
					mode = ModeClient
				}
				if p.Mode != mode || !slices.Equal(p.Addrs, want.addrs()) {
					t.Errorf("provider %d: %+v", i, p)
				}
			}
		}
		lookups := client.Stats().Lookups
		if _, err := client.Ping(within(t, time.Minute), s.nodes[17].ID()); err != nil {
			t.Errorf("ping of a provider: %v", err)
		}
		if client.Stats().Lookups != lookups {
			t.Error("a provider had to be looked up")
		}
		if sent := client.Stats().Sent.GetProviders; sent < 20 || sent > 60 {
			t.Errorf("%d requests for providers", sent)
		}
	})
}

// Providing again replaces what was said before: a provider is told of once, at
// its newest addresses.
func TestProvideAgain(t *testing.T) {
	inSwarm(t, 3, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		key := routing.KeyOf("a book")
		for range 3 {
			if _, err := s.nodes[1].Provide(within(t, time.Minute), key); err != nil {
				t.Fatal(err)
			}
		}
		if all := found(t, s.nodes[2], key); len(all) != 1 {
			t.Errorf("providers: %v", all)
		}
		if held := s.nodes[0].values.Get(time.Now(), wire.KindProvider, key, 9); len(held) != 1 {
			t.Errorf("%d records held", len(held))
		}
	})
}

// FindProviders of a key without providers yields one error. Records of other kinds do not count.
func TestNoProviders(t *testing.T) {
	inSwarm(t, 3, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		key := routing.KeyOf("?")
		s.put(s.nodes[0], key, "a value", PutOptions{})
		n := 0
		for _, err := range s.nodes[1].FindProviders(within(t, time.Minute), key) {
			if n++; !errors.Is(err, ErrNotFound) {
				t.Error(err)
			}
		}
		if n != 1 {
			t.Errorf("%d yields", n)
		}
		alone, err := New(Config{Mode: ModeClient})
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range alone.FindProviders(t.Context(), key) {
			if !errors.Is(err, ErrNotStarted) {
				t.Error(err)
			}
		}
		if _, err := alone.Provide(t.Context(), key); !errors.Is(err, ErrNotStarted) {
			t.Error(err)
		}
	})
}

// More providers than fit an answer are told page by page; what different nodes
// hold is put together.
func TestProvidersPaged(t *testing.T) {
	inSwarm(t, 4, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		key := routing.KeyOf("a popular book")
		const each = 60 // nearly all that a node keeps under one key
		for i, n := range s.nodes {
			for j := range each {
				if err := n.storeLocal(provided(t, 100+20*i+j, key)); err != nil {
					t.Fatal(err)
				}
			}
		}
		client := s.add(Config{Mode: ModeClient})
		before := client.Stats().Sent
		all := found(t, client, key)
		if len(all) != each+3*20 {
			t.Errorf("%d providers found, want %d", len(all), each+3*20)
		}
		if asked := client.Stats().Sent.GetProviders - before.GetProviders; asked != 8 {
			t.Errorf("%d pages of four nodes, want two of each", asked)
		}
	})
}

// Breaking off the loop ends the search at once.
func TestFindProvidersBreak(t *testing.T) {
	inSwarm(t, 4, simnet.Options{Delay: 100 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		key := routing.KeyOf("a book")
		for i, n := range s.nodes {
			for j := range 50 {
				n.storeLocal(provided(t, 100+10*i+j, key))
			}
		}
		client := s.add(Config{Mode: ModeClient})
		start := time.Now()
		for _, err := range client.FindProviders(within(t, time.Minute), key) {
			if err != nil {
				t.Error(err)
			}
			break
		}
		if took := time.Since(start); took > 250*time.Millisecond {
			t.Errorf("the first provider and the break took %v", took)
		}
	})
}

// When the context ends, the providers found so far are yielded, and its error comes last.
func TestFindProvidersCancelled(t *testing.T) {
	inSwarm(t, 4, simnet.Options{Delay: 100 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		key := routing.KeyOf("a book")
		for i, n := range s.nodes {
			for j := range 50 {
				n.storeLocal(provided(t, 100+10*i+j, key))
			}
		}
		client := s.add(Config{Mode: ModeClient})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		n := 0
		var last error
		for _, err := range client.FindProviders(ctx, key) {
			cancel()
			if last != nil {
				t.Error("something came after the error")
			}
			if last = err; err == nil {
				n++
			}
		}
		if n == 0 || !errors.Is(last, context.Canceled) {
			t.Errorf("%d found, then %v", n, last)
		}
	})
}

// What a provider says is believed for as long as its record lives: one that
// has gone is told of no more.
func TestProviderStops(t *testing.T) {
	inSwarm(t, 6, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		key := routing.KeyOf("a book")
		n := s.add(Config{RecordTTL: time.Hour})
		if _, err := n.Provide(within(t, time.Minute), key); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		n.Close()
		if all := found(t, s.nodes[2], key); len(all) != 1 {
			t.Errorf("providers while the record lives: %v", all)
		}
		time.Sleep(51 * time.Minute)
		if all := found(t, s.nodes[2], key); len(all) != 0 {
			t.Errorf("providers after its end: %v", all)
		}
	})
}

// Who provides goes on providing, from wherever it is, until it says that it does
// not.
func TestStopProviding(t *testing.T) {
	inSwarm(t, 6, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		key := routing.KeyOf("a book")
		n := s.add(Config{RecordTTL: time.Hour})
		if _, err := n.Provide(within(t, time.Minute), key); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Hour)
		p := found(t, s.nodes[2], key)[n.ID()]
		if p.ID != n.ID() || !slices.Equal(p.Addrs, n.addrs()) {
			t.Errorf("after three lives: %+v", p)
		}
		if all := n.Published(); len(all) != 1 || all[0].Kind != wire.KindProvider || all[0].Key != key {
			t.Errorf("published: %+v", all)
		}
		if err := n.StopProviding(within(t, time.Minute), key); err != nil {
			t.Error(err)
		}
		time.Sleep(61 * time.Second)
		for _, asker := range []*Node{s.nodes[2], n} {
			if all := found(t, asker, key); len(all) > 0 {
				t.Errorf("a minute after it stopped: %v", all)
			}
		}
		if err := n.StopProviding(within(t, time.Minute), key); !errors.Is(err, ErrNotFound) {
			t.Errorf("stopping again: %v", err)
		}
		if _, err := n.Provide(within(t, time.Minute), key); err != nil {
			t.Error(err)
		}
		if all := found(t, s.nodes[2], key); len(all) != 1 {
			t.Errorf("providers when it began again: %v", all)
		}
	})
}

// A providerLiar lies about more valid providers than a node holds.
type providerLiar struct {
	t     *testing.T
	crowd []*wire.Signed
	asks  atomic.Int32 // how often it was asked
}

func (x *providerLiar) page(after wire.PeerID) []*wire.Signed {
	return pageOf(x.crowd, after)
}

// pageOf returns a page of records that begins behind a publisher.
func pageOf(records []*wire.Signed, after wire.PeerID) (page []*wire.Signed) {
	for _, r := range byPublisher(slices.Clone(records)) {
		if bytes.Compare(r.Record.Publisher[:], after[:]) > 0 && len(page) < wire.MaxPage {
			page = append(page, r)
		}
	}
	return page
}

// A peer that lies about providers costs little time, hides no provider that other peers know, and
// gets no unsigned record accepted.
func TestProviderLiars(t *testing.T) {
	key := routing.KeyOf("a book")
	for name, c := range map[string]struct {
		lie   func(x *providerLiar, m wire.GetProviders) wire.Message
		asks  int // how often it is asked at most
		found int // its own providers that the search finds
		takes time.Duration
	}{
		"another key": {func(x *providerLiar, m wire.GetProviders) wire.Message {
			return wire.Providers{More: true, Records: []*wire.Signed{provided(x.t, 700, routing.KeyOf("another"))}}
		}, 1, 0, time.Second},
		"another kind": {func(x *providerLiar, m wire.GetProviders) wire.Message {
			r := wire.Record{Kind: wire.KindOpen, Key: key, Expiry: time.Now().Add(time.Hour)}
			return wire.Providers{More: true, Records: []*wire.Signed{signed(x.t, 700, r)}}
		}, 1, 0, time.Second},
		"unreadable": {func(x *providerLiar, m wire.GetProviders) wire.Message {
			return wire.Providers{More: true, Records: []*wire.Signed{{Payload: []byte("garbage")}}}
		}, 1, 0, time.Second},
		"expired": {func(x *providerLiar, m wire.GetProviders) wire.Message {
			r := wire.Record{Kind: wire.KindProvider, Key: key, Expiry: time.Now().Add(-time.Second)}
			return wire.Providers{Records: []*wire.Signed{signed(x.t, 700, r)}}
		}, 1, 0, time.Second},
		"forged": {func(x *providerLiar, m wire.GetProviders) wire.Message {
			var forged []*wire.Signed
			for _, r := range x.page(m.After) {
				r := *r
				r.Signature[3] ^= 1
				forged = append(forged, &r)
			}
			return wire.Providers{More: true, Records: forged}
		}, 1, 0, time.Second},
		"endless": {func(x *providerLiar, m wire.GetProviders) wire.Message {
			return wire.Providers{More: true, Records: x.page(m.After)}
		}, search.MaxPages, search.MaxPages * wire.MaxPage, 3 * time.Second},
		"the same page again": {func(x *providerLiar, m wire.GetProviders) wire.Message {
			return wire.Providers{More: true, Records: x.page(wire.PeerID{})}
		}, 2, wire.MaxPage, time.Second},
		"backwards": {func(x *providerLiar, m wire.GetProviders) wire.Message {
			records := x.page(wire.PeerID{})
			slices.Reverse(records)
			return wire.Providers{More: true, Records: records}
		}, 1, 1, time.Second},
		"more of nothing": {func(x *providerLiar, m wire.GetProviders) wire.Message {
			return wire.Providers{More: true}
		}, 1, 0, time.Second},
		"too many": {func(x *providerLiar, m wire.GetProviders) wire.Message {
			return wire.Providers{Records: x.crowd[:wire.MaxPage+1]}
		}, 1, 0, time.Second},
		"no answer to that": {func(x *providerLiar, m wire.GetProviders) wire.Message {
			return wire.Pong{}
		}, 1, 0, time.Second},
		"silence after the first page": {func(x *providerLiar, m wire.GetProviders) wire.Message {
			if x.asks.Load() > 1 {
				return nil
			}
			return wire.Providers{More: true, Records: x.page(m.After)}
		}, 2, wire.MaxPage, 6 * time.Second},
		"slowness": {func(x *providerLiar, m wire.GetProviders) wire.Message {
			time.Sleep(time.Duration(min(x.asks.Load()-1, 1)) * 2 * time.Second)
			return wire.Providers{More: true, Records: x.page(m.After)}
		}, 6, 5 * wire.MaxPage, 11 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inSwarm(t, 4, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
				x := &providerLiar{t: t}
				for i := range (c.asks + 2) * wire.MaxPage {
					x.crowd = append(x.crowd, provided(t, 2000+i, key))
				}
				s.stranger(0).join(s.nodes[0], func(_ wire.PeerID, m wire.Message) wire.Message {
					switch m := m.(type) {
					case wire.GetProviders:
						x.asks.Add(1)
						return c.lie(x, m)
					case wire.Store:
						return wire.Stored{Results: make([]wire.Code, len(m.Records))}
					case wire.FindNode:
						return wire.Nodes{}
					}
					return wire.Pong{}
				})
				for _, n := range s.nodes[:2] {
					if _, err := n.Provide(within(t, time.Minute), key); err != nil {
						t.Fatal(err)
					}
				}
				client := s.add(Config{Mode: ModeClient})
				start := time.Now()
				all := found(t, client, key)
				if took := time.Since(start); took > c.takes {
					t.Errorf("took %v", took)
				}
				for _, n := range s.nodes[:2] {
					if p, ok := all[n.ID()]; !ok || len(p.Addrs) == 0 {
						t.Errorf("provider %s: %+v", n.ID(), p)
					}
				}
				if len(all) != 2+c.found {
					t.Errorf("%d providers, want 2 and the liar's %d", len(all), c.found)
				}
				if n := int(x.asks.Load()); n == 0 || n > c.asks {
					t.Errorf("the liar was asked %d times, want %d", n, c.asks)
				}
				time.Sleep(5 * time.Second) // the slow one ends
			})
		})
	}
}

// A signed record may come from anywhere: a public peer cannot make a node dial addresses in its
// private network, neither by naming them nor by storing them here.
func TestProvidersInOurOwnHouse(t *testing.T) {
	inSwarm(t, 3, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		key := routing.KeyOf("a trap")
		n := s.nodes[0]
		trap := provided(t, 700, key, "127.0.0.1:4774", "10.0.0.1:4774", "192.168.1.1:4774", "169.254.1.1:4774",
			"100.64.0.1:4774", "[fd00::1]:4774", host(700).String())
		want := []wire.Addr{wire.AddrFrom(host(700))}
		check := func() {
			t.Helper()
			all := found(t, n, key)
			if p := all[trap.Record.Publisher]; len(all) != 1 || !slices.Equal(p.Addrs, want) {
				t.Errorf("providers: %+v", all)
			}
			if at := n.peers.AppendAddrs(nil, trap.Record.Publisher, time.Now()); !slices.Equal(at, want) {
				t.Errorf("it would be dialled at %v", at)
			}
		}
		s.nodes[1].storeLocal(trap)
		check()
		n.storeLocal(trap)
		check()
		for _, other := range s.nodes[1:] { // and alone
			other.Close()
		}
		time.Sleep(time.Minute)
		if links := n.links.all(); len(links) > 0 {
			t.Fatalf("%d links", len(links))
		}
		check()
	})
}
