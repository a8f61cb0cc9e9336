package node

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/search"
	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// signed makes a record of the i-th key, whatever is wrong with it.
func signed(t *testing.T, i int, r wire.Record) *wire.Signed {
	t.Helper()
	s, err := wire.Sign(r, testKey(i))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// tampered returns s with some bytes replaced by as many others, with the old signature or signed
// by the i-th key, which wire.Sign would refuse.
func tampered(t *testing.T, s *wire.Signed, from, to []byte, i int) *wire.Signed {
	t.Helper()
	out := &wire.Signed{Payload: bytes.Replace(s.Payload, from, to, 1), Signature: s.Signature}
	if i > 0 {
		out.Signature = [64]byte(ed25519.Sign(testKey(i), append([]byte("kadquic record v1\x00"), out.Payload...)))
	}
	out, err := wire.ParseSigned(wire.AppendSigned(nil, out))
	if err != nil || bytes.Equal(out.Payload, s.Payload) {
		t.Fatalf("cannot tamper: %v, %+v", err, out)
	}
	return out
}

// Nothing enters a store that its publisher did not sign, or that has no right
// to its key or its life. One bad record of a request does not spoil the others.
func TestBadRecordsAreRefused(t *testing.T) {
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		n := s.nodes[0]
		x := s.stranger(0)
		x.hello.Mode = wire.ModeClient
		k := x.meet(n)
		now := time.Now()
		record := func(kind wire.Kind, seq uint64, life time.Duration, value string) *wire.Signed {
			r := wire.Record{Kind: kind, Seq: seq, Expiry: now.Add(life), Value: []byte(value)}
			switch kind {
			case wire.KindOpen:
				r.Key = routing.KeyOf(value)
			case wire.KindOwned:
				r.Name = []byte("name")
			}
			return signed(t, 1, r)
		}
		good := record(wire.KindOpen, 5, time.Hour, "good")
		content := record(wire.KindContent, 5, time.Hour, "content")
		owned := record(wire.KindOwned, 5, time.Hour, "mine")
		id1, id2 := idOf(testKey(1)), idOf(testKey(2))
		unreadable := &wire.Signed{Payload: []byte("no protobuf at all"), Signature: good.Signature}
		store := wire.Store{}
		var want []wire.Code
		for _, c := range []struct {
			record *wire.Signed
			want   wire.Code
		}{
			{tampered(t, good, []byte("good"), []byte("evil"), 0), wire.CodeInvalid},
			{tampered(t, good, id1[:], id2[:], 0), wire.CodeInvalid},
			{tampered(t, content, []byte("content"), []byte("forgery"), 1), wire.CodeInvalid}, // not what the key says
			{tampered(t, owned, id1[:], id2[:], 2), wire.CodeInvalid},                         // not the owner
			{record(wire.KindOpen, 5, -time.Second, "expired"), wire.CodeExpired},
			{record(wire.KindOpen, 5, wire.MaxTTL+wire.MaxSkew+time.Second, "immortal"), wire.CodeAhead},
			{record(wire.KindOpen, 5, wire.MaxTTL+wire.MaxSkew-time.Second, "a clock a little ahead"), wire.CodeOK},
			{unreadable, wire.CodeInvalid},
			{tampered(t, good, []byte{8, byte(wire.KindOpen)}, []byte{8, 100}, 1), wire.CodeUnimplemented}, // of a kind to come
			{good, wire.CodeOK},
			{good, wire.CodeOK}, // again
			{owned, wire.CodeOK},
			{record(wire.KindOwned, 4, 2*time.Hour, "mine, once"), wire.CodeStale},
		} {
			store.Records = append(store.Records, c.record)
			want = append(want, c.want)
		}
		m, ok := k.ask(store).(wire.Stored)
		if !ok || len(m.Results) != len(want) {
			t.Fatalf("answer: %#v", m)
		}
		for i := range want {
			if m.Results[i] != want[i] {
				t.Errorf("record %d: %v, want %v", i, m.Results[i], want[i])
			}
		}
		if held := n.Stats().Records; held != 3 {
			t.Errorf("%d records held, want 3", held)
		}
		if held := n.values.Get(now, wire.KindOpen, good.Record.Key, 9); len(held) != 1 || string(held[0].Record.Value) != "good" {
			t.Errorf("held: %v", held)
		}
	})
}

// A peer that answers every request with forged records deceives no reader: gets return only records
// with a valid signature of their publisher.
func TestForgedAnswersAreNotBelieved(t *testing.T) {
	inSwarm(t, 4, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		n, key := s.nodes[0], routing.KeyOf("truth")
		var lies atomic.Int32
		var record atomic.Pointer[wire.Signed]
		x := s.stranger(0)
		x.join(n, func(_ wire.PeerID, m wire.Message) wire.Message {
			switch m := m.(type) {
			case wire.FindValue:
				lies.Add(1)
				truth := record.Load()
				otherKey := signed(t, 666, wire.Record{Kind: wire.KindOpen, Key: routing.KeyOf("elsewhere"), Seq: 9, Expiry: truth.Record.Expiry, Value: []byte("lie")})
				otherKind := signed(t, 666, wire.Record{Kind: wire.KindContent, Expiry: truth.Record.Expiry, Value: []byte("lie")})
				return wire.Value{Records: []*wire.Signed{tampered(t, truth, []byte("it is so"), []byte("it is no"), 0), otherKey, otherKind}}
			case wire.Store:
				if m.Records[0].Record.Key == key {
					record.Store(m.Records[0])
				}
				return wire.Stored{Results: make([]wire.Code, len(m.Records))}
			case wire.FindNode:
				return wire.Nodes{}
			}
			return wire.Pong{}
		})
		if stored := s.put(s.nodes[1], key, "it is so", PutOptions{}); stored.Count != 5 {
			t.Errorf("stored: %v", stored)
		}
		client := s.add(Config{Mode: ModeClient})
		for _, o := range []GetOptions{{}, {Quorum: 5}, {Kind: wire.KindContent}} {
			v, err := client.Get(within(t, time.Minute), key, &o)
			if o.Kind == wire.KindContent {
				if !errors.Is(err, ErrNotFound) {
					t.Errorf("get of another kind: %q, %v", v.Data, err)
				}
			} else if err != nil || string(v.Data) != "it is so" || v.Publisher != s.nodes[1].ID() {
				t.Errorf("get: %q of %s, %v", v.Data, v.Publisher, err)
			}
		}
		for v, err := range client.Values(within(t, time.Minute), key, nil) {
			if err != nil || string(v.Data) != "it is so" {
				t.Errorf("values: %q, %v", v.Data, err)
			}
		}
		if lies.Load() < 2 {
			t.Errorf("the liar was asked %d times only", lies.Load())
		}
		if held := s.holders(wire.KindOpen, key, "it is so"); len(held) != 4 {
			t.Errorf("nodes %v hold the truth", held)
		}
	})
}

// A peer that names bogus contacts cannot make a node dial addresses in its private network, keep a
// lookup busy, or change its result.
func TestBogusContactsLeadNowhere(t *testing.T) {
	inSwarm(t, 5, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		n, key := s.nodes[0], routing.KeyOf("target")
		inside := []wire.Addr{ // where a socket counts packets
			wire.AddrFrom(netip.MustParseAddrPort("127.0.0.1:4774")),
			wire.AddrFrom(netip.MustParseAddrPort("192.168.1.1:4774")),
			wire.AddrFrom(netip.MustParseAddrPort("10.0.0.1:4774")),
			wire.AddrFrom(netip.MustParseAddrPort("169.254.1.1:4774")),
			wire.AddrFrom(netip.MustParseAddrPort("100.64.0.1:4774")),
			wire.AddrFrom(netip.MustParseAddrPort("[fd00::1]:4774")),
		}
		var asked atomic.Int32
		var next atomic.Int32
		x := s.stranger(0)
		x.join(n, func(_ wire.PeerID, m wire.Message) wire.Message {
			var contacts []wire.Contact
			for range wire.MaxContacts {
				contacts = append(contacts, wire.Contact{ID: wire.PeerID{byte(next.Add(1)), 1}, Addrs: inside})
			}
			switch m := m.(type) {
			case wire.FindNode:
				asked.Add(1)
				return wire.Nodes{Contacts: contacts}
			case wire.FindValue:
				return wire.Value{Contacts: contacts}
			case wire.Store:
				return wire.Stored{Results: make([]wire.Code, len(m.Records)), Contacts: contacts}
			}
			return wire.Pong{}
		})
		before := s.net.Stats().Strays
		start := time.Now()
		for range 20 {
			near, err := n.Nearest(within(t, time.Minute), key)
			if err != nil || len(near) != 6 {
				t.Fatalf("lookup: %d contacts, %v; want 6", len(near), err)
			}
		}
		s.wantGet(n, s.put(n, key, "found", PutOptions{}).Key, GetOptions{Quorum: 6}, "found")
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("22 operations took %v", took)
		}
		if asked.Load() < 20 {
			t.Errorf("the liar was asked %d times only", asked.Load())
		}
		if strays := s.net.Stats().Strays - before; strays > 0 {
			t.Errorf("%d packets went to addresses in our own house", strays)
		}
		if known := n.Stats().Known; known > 10 {
			t.Errorf("%d peers known of 7", known)
		}
	})
}

// Contacts that do not exist cost a lookup some time, but not its result. A peer that did not answer
// enters no table.
func TestGhostsAreNotMet(t *testing.T) {
	inSwarm(t, 5, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		n, key := s.nodes[0], routing.KeyOf("target")
		x := s.stranger(0)
		x.join(n, func(_ wire.PeerID, m wire.Message) wire.Message {
			if _, ok := m.(wire.FindNode); !ok {
				return wire.Pong{}
			}
			var ghosts []wire.Contact
			for i := range wire.MaxContacts {
				ghosts = append(ghosts, wire.Contact{ID: idOf(testKey(5000 + i)), Addrs: []wire.Addr{wire.AddrFrom(host(5000 + i))}})
			}
			return wire.Nodes{Contacts: ghosts}
		})
		near, err := n.Nearest(within(t, 2*time.Minute), key)
		if err != nil || len(near) != 6 {
			t.Errorf("lookup: %d contacts, %v; want 6", len(near), err)
		}
		if peers := n.Stats().Peers; peers != 5 {
			t.Errorf("%d peers in the table, want 5", peers)
		}
	})
}

// A peer whose answers break the rules has not answered. A lookup waits for a silent peer at most
// RPCTimeout, and only if no other peer can replace it.
func TestPeersThatDoNotAnswer(t *testing.T) {
	inSwarm(t, 4, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		n := s.nodes[0]
		s.stranger(0).join(n, func(wire.PeerID, wire.Message) wire.Message { return nil })
		s.stranger(1).join(n, func(wire.PeerID, wire.Message) wire.Message {
			return wire.Nodes{Contacts: make([]wire.Contact, 200)}
		})
		s.stranger(2).join(n, func(wire.PeerID, wire.Message) wire.Message { return wire.Stored{} })
		start := time.Now()
		near, err := n.Nearest(within(t, time.Minute), routing.KeyOf("x"))
		if err != nil || len(near) != 4 {
			t.Errorf("lookup: %v, %v; want the four that answer", near, err)
		}
		if took := time.Since(start); took > n.config.RPCTimeout+time.Second {
			t.Errorf("the lookup took %v", took)
		}
	})
}

// That we hold a record does not make another signature under the same words
// genuine.
func TestAHeldRecordVouchesForItselfOnly(t *testing.T) {
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		n, now := s.nodes[0], time.Now()
		r := signed(t, 1, wire.Record{Kind: wire.KindContent, Expiry: now.Add(time.Hour), Value: []byte("x")})
		if err := n.storeLocal(r); err != nil {
			t.Fatal(err)
		}
		if err := n.search.Verify(r, now); err != nil {
			t.Error(err)
		}
		bad := *r
		bad.Signature[7] ^= 1
		if err := n.search.Verify(&bad, now); !errors.Is(err, wire.ErrBadSignature) {
			t.Errorf("another signature: %v", err)
		}
	})
}

// A request full of forgeries costs us a few verifications, not one for each.
func TestManyForgeries(t *testing.T) {
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		var forged wire.Store
		for i := range 10 {
			r := *signed(t, 1, wire.Record{Kind: wire.KindOpen, Key: routing.KeyOf(string(rune('a' + i))), Expiry: time.Now().Add(time.Hour)})
			r.Signature[7] ^= 1
			forged.Records = append(forged.Records, &r)
		}
		m, ok := s.stranger(0).meet(s.nodes[0]).ask(forged).(wire.Stored)
		if !ok || len(m.Results) != 10 {
			t.Fatalf("answered %v", m)
		}
		for i, code := range m.Results {
			want := wire.CodeInvalid
			if i >= search.MaxForged {
				want = wire.CodeBusy
			}
			if code != want {
				t.Errorf("record %d: %v, want %v", i, code, want)
			}
		}
		if n := s.nodes[0].Stats().Records; n != 0 {
			t.Errorf("%d records stored", n)
		}
	})
}

// A peer that says HELLO as often as one likes, and answers nothing, clears its
// mark by none of them.
func TestTarpit(t *testing.T) {
	inSwarm(t, 4, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		n := s.nodes[0]
		silent := func(wire.PeerID, wire.Message) wire.Message { return nil }
		tar := s.stranger(0)
		tar.join(n, silent)
		near, err := n.Nearest(within(t, time.Minute), routing.KeyOf("x"))
		if err != nil || len(near) != 4 {
			t.Fatalf("%d contacts, %v; want the four that answer", len(near), err)
		}
		time.Sleep(n.config.RPCTimeout) // the lookup went on without the silent peer
		for i := range 3 {
			tar.join(n, silent)
			marked := n.routes.IsMarked(tar.id.Key())
			if !marked {
				t.Fatalf("HELLO %d cleared the mark", i)
			}
		}
		// One that answers after all is as good as any.
		tar.join(n, func(_ wire.PeerID, m wire.Message) wire.Message { return wire.Pong{} })
		if n.marked() > 0 {
			t.Error("a contact that answers is still marked")
		}
	})
}
