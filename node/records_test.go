package node

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

func idOf(key ed25519.PrivateKey) wire.PeerID { return wire.PeerID(key[ed25519.SeedSize:]) }

// put stores a value or ends the test.
func (s *testNetwork) put(n *Node, key routing.Key, value string, o PutOptions) Stored {
	s.t.Helper()
	stored, err := n.Put(within(s.t, time.Minute), key, []byte(value), &o)
	if err != nil {
		s.t.Fatalf("put %q: %v", value, err)
	}
	return stored
}

// wantGet gets a value and compares it.
func (s *testNetwork) wantGet(n *Node, key routing.Key, o GetOptions, want string) {
	s.t.Helper()
	v, err := n.Get(within(s.t, time.Minute), key, &o)
	if err != nil || string(v.Data) != want {
		s.t.Errorf("get: %q, %v; want %q", v.Data, err, want)
	}
}

// holders returns which nodes hold a record of that kind and value under key.
func (s *testNetwork) holders(kind wire.Kind, key routing.Key, value string) (held []int) {
	for i, n := range s.nodes {
		for _, r := range n.values.Get(time.Now(), kind, key, 99) {
			if string(r.Record.Value) == value {
				held = append(held, i)
			}
		}
	}
	return held
}

// Open records of several publishers stand side by side under one key, and one
// publisher's newest replaces its older ones.
func TestOpenRecordsStandSideBySide(t *testing.T) {
	inSwarm(t, 4, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		key := routing.KeyOf("room")
		ann, ben := testKey(100), testKey(101)
		s.put(s.nodes[0], key, "ann was here", PutOptions{Publisher: ann})
		s.put(s.nodes[1], key, "ben was here", PutOptions{Publisher: ben, TTL: time.Hour})
		s.put(s.nodes[2], key, "ann is back", PutOptions{Publisher: ann})
		got := make(map[wire.PeerID]string)
		for v, err := range s.nodes[3].Values(within(t, time.Minute), key, nil) {
			if err != nil {
				t.Fatal(err)
			}
			got[v.Publisher] = string(v.Data)
		}
		if len(got) != 2 || got[idOf(ann)] != "ann is back" || got[idOf(ben)] != "ben was here" {
			t.Errorf("values: %v", got)
		}
		if held := s.holders(wire.KindOpen, key, "ann was here"); len(held) > 0 {
			t.Errorf("nodes %v hold what was replaced", held)
		}
		// Of two publishers' the one that lives longer stands first.
		s.wantGet(s.nodes[3], key, GetOptions{Quorum: 4}, "ann is back")
	})
}

// Put, put, get gives the second value, however soon the second follows.
func TestPutPutGetGivesTheSecond(t *testing.T) {
	for name, delay := range map[string]time.Duration{"in the same millisecond": 0, "over a network": 10 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			inSwarm(t, 3, simnet.Options{Delay: delay}, func(t *testing.T, s *testNetwork) {
				for i := range 10 {
					key := routing.KeyOf(fmt.Sprint("colour ", i))
					s.put(s.nodes[0], key, "red", PutOptions{})
					s.put(s.nodes[0], key, "blue", PutOptions{})
					s.wantGet(s.nodes[1], key, GetOptions{}, "blue")
				}
			})
		})
	}
}

// A content record's key is the hash of its value; it needs not be given.
func TestContentRecords(t *testing.T) {
	inSwarm(t, 3, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		content := PutOptions{Kind: wire.KindContent}
		stored := s.put(s.nodes[0], routing.Key{}, "self-certifying", content)
		if stored.Key != routing.KeyOf("self-certifying") {
			t.Errorf("stored under %s", stored.Key)
		}
		s.put(s.nodes[1], stored.Key, "self-certifying", content) // another publisher, same content
		s.wantGet(s.nodes[2], stored.Key, GetOptions{Kind: wire.KindContent}, "self-certifying")
		_, err := s.nodes[0].Put(t.Context(), routing.KeyOf("wrong"), []byte("x"), &content)
		if !errors.Is(err, wire.ErrBadKey) {
			t.Errorf("under another key: %v", err)
		}
		// Kinds never compete: there is no open record under that key.
		if _, err := s.nodes[2].Get(within(t, time.Minute), stored.Key, nil); !errors.Is(err, ErrNotFound) {
			t.Errorf("an open record under the key of a content record: %v", err)
		}
	})
}

// An owned record is its owner's alone, and does not go back.
func TestOwnedRecords(t *testing.T) {
	inSwarm(t, 5, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		n, name := s.nodes[0], []byte("profile")
		owned := GetOptions{Kind: wire.KindOwned}
		put := PutOptions{Kind: wire.KindOwned, Name: name}
		stored := s.put(n, routing.Key{}, "first", put)
		if stored.Key != wire.OwnedKey(n.ID(), name) || stored.Count != 5 {
			t.Errorf("%v under %s", stored, stored.Key)
		}
		s.put(n, stored.Key, "second", put)
		s.wantGet(s.nodes[4], stored.Key, owned, "second")

		// Not by another publisher,
		if _, err := s.nodes[1].Put(t.Context(), stored.Key, []byte("mine"), &put); !errors.Is(err, wire.ErrBadKey) {
			t.Errorf("another's put: %v", err)
		}
		// and not with a lower sequence, says every holder.
		put.Seq = 17
		refused, err := n.Put(within(t, time.Minute), stored.Key, []byte("old"), &put)
		var perr *PutError
		if !errors.As(err, &perr) || !errors.Is(err, ErrQuorum) || refused.Count != 0 || refused.Of != 5 {
			t.Fatalf("put of a lower sequence: %v, %v", refused, err)
		}
		for id, cause := range perr.Causes {
			if !errors.Is(cause, wire.CodeStale) {
				t.Errorf("%s refused because %v", id, cause)
			}
		}
		s.wantGet(s.nodes[4], stored.Key, owned, "second")
	})
}

// A get of an owned record asks three holders, so that one which missed an
// update does not hide it, and brings that one up to date.
func TestOwnedQuorumAndReadRepair(t *testing.T) {
	inSwarm(t, 0, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		s.addNegligent(6)
		put := PutOptions{Kind: wire.KindOwned, Name: []byte("n"), Publisher: testKey(100)}
		key := s.put(s.nodes[0], routing.Key{}, "old", put).Key
		near := slices.Clone(s.nodes)
		slices.SortFunc(near, func(a, b *Node) int { return key.CompareDistance(a.Key(), b.Key()) })
		behind := slices.Index(s.nodes, near[1])
		s.net.Partition(hosts(behind, behind+1))
		if stored := s.put(near[0], key, "new", put); stored.Count != 5 {
			t.Errorf("put with one cut off: %v", stored)
		}
		s.net.Heal()
		time.Sleep(10 * time.Minute)
		if held := s.holders(wire.KindOwned, key, "old"); !slices.Equal(held, []int{behind}) {
			t.Fatalf("old at %v, want at %d", held, behind)
		}
		// It asks itself first, finds the old one, and does not believe it.
		s.wantGet(s.nodes[behind], key, GetOptions{Kind: wire.KindOwned}, "new")
		time.Sleep(time.Second)
		if held := s.holders(wire.KindOwned, key, "new"); len(held) != 6 {
			t.Errorf("after the repair the new record is at %v", held)
		}
	})
}

// A record ends at its expiry, everywhere.
func TestRecordsExpire(t *testing.T) {
	inSwarm(t, 3, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		key := routing.KeyOf("ephemeral")
		s.put(s.nodes[0], key, "soon gone", PutOptions{TTL: 10 * time.Minute})
		time.Sleep(9 * time.Minute)
		s.wantGet(s.nodes[1], key, GetOptions{}, "soon gone")
		time.Sleep(61 * time.Second)
		for i, n := range s.nodes {
			if _, err := n.Get(within(t, time.Minute), key, nil); !errors.Is(err, ErrNotFound) {
				t.Errorf("node %d: %v, want ErrNotFound", i, err)
			}
		}
		time.Sleep(2 * time.Minute)
		if held := s.holders(wire.KindOpen, key, "soon gone"); len(held) > 0 {
			t.Errorf("nodes %v hold it still", held)
		}
		for _, ttl := range []time.Duration{-time.Second, wire.MaxTTL + time.Second} {
			if _, err := s.nodes[0].Put(t.Context(), key, nil, &PutOptions{TTL: ttl}); err == nil {
				t.Errorf("a life of %v was accepted", ttl)
			}
		}
	})
}

// Values are bytes: any, none, and up to 8 KiB of them.
func TestValuesAreBytes(t *testing.T) {
	inSwarm(t, 3, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		all := make([]byte, 256)
		for i := range all {
			all[i] = byte(i)
		}
		for name, value := range map[string][]byte{
			"not UTF-8": {0xff, 0xfe, 0x00, 0xc3, 0x28},
			"every":     all,
			"none":      {},
			"8 KiB":     bytes.Repeat(all, 32),
		} {
			s.put(s.nodes[0], routing.KeyOf(name), string(value), PutOptions{})
			got, err := s.nodes[2].Get(within(t, time.Minute), routing.KeyOf(name), nil)
			if err != nil || !bytes.Equal(got.Data, value) {
				t.Errorf("%s: %d bytes back, %v; want %d", name, len(got.Data), err, len(value))
			}
		}
		_, err := s.nodes[0].Put(t.Context(), routing.KeyOf("large"), make([]byte, wire.MaxValue+1), nil)
		if !errors.Is(err, wire.ErrRecord) || !strings.Contains(err.Error(), "8193 bytes") {
			t.Errorf("8 KiB and a byte: %v", err)
		}
	})
}

// A lone node is its own network: 1 of 1.
func TestALoneNodeStoresOnOneOfOne(t *testing.T) {
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		n := s.nodes[0]
		if stored := s.put(n, routing.KeyOf("Hello"), "World", PutOptions{Quorum: 1}); stored.Count != 1 || stored.Of != 1 {
			t.Error(stored)
		}
		s.wantGet(n, routing.KeyOf("Hello"), GetOptions{}, "World")
		if _, err := n.Get(t.Context(), routing.KeyOf("nothing"), nil); !errors.Is(err, ErrNotFound) {
			t.Errorf("get of nothing: %v", err)
		}
		stored, err := n.Put(t.Context(), routing.KeyOf("Hello"), []byte("older"), &PutOptions{Seq: 1})
		if stored.Count != 0 || !errors.Is(err, ErrQuorum) || errors.Is(err, ErrUnreachable) {
			t.Errorf("an older one: %v, %v", stored, err)
		}
	})
}

// A put below the requested quorum returns an error with the peers that did not store and their
// reasons. Stored copies stay.
func TestPutBelowQuorum(t *testing.T) {
	inSwarm(t, 3, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		x := s.stranger(0)
		x.join(s.nodes[0], func(_ wire.PeerID, m wire.Message) wire.Message {
			return wire.Error{Code: wire.CodeBusy, Message: "\x1b[31mno"}
		})
		key := routing.KeyOf("wanted everywhere")
		stored, err := s.nodes[0].Put(within(t, time.Minute), key, []byte("x"), &PutOptions{Quorum: 10})
		var perr *PutError
		if !errors.As(err, &perr) || !errors.Is(err, ErrQuorum) || errors.Is(err, ErrUnreachable) {
			t.Fatalf("put: %v", err)
		}
		if stored.Count != 3 || stored.Of != 4 || perr.Stored != stored || perr.Quorum != 10 {
			t.Errorf("%v, %+v", stored, perr)
		}
		if cause := perr.Causes[x.id]; !errors.Is(cause, ErrBusy) || len(perr.Causes) != 1 {
			t.Errorf("causes: %v", perr.Causes)
		}
		if strings.Contains(err.Error(), "\x1b") || !strings.Contains(err.Error(), "stored on 3 of 4 peers, 10 asked for") {
			t.Errorf("the error reads %q", err)
		}
		s.wantGet(s.nodes[2], key, GetOptions{}, "x")
	})
}

// A put that reached no peer returns an error, although the node itself holds the record.
func TestPutWithoutLivePeersFails(t *testing.T) {
	inSwarm(t, 3, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		s.kill(0)
		s.kill(1)
		stored, err := s.nodes[2].Put(within(t, time.Minute), routing.KeyOf("x"), []byte("y"), nil)
		var perr *PutError
		if !errors.Is(err, ErrUnreachable) || errors.Is(err, ErrQuorum) || !errors.As(err, &perr) || len(perr.Causes) != 2 {
			t.Fatalf("%v, %v; want ErrUnreachable with two causes", stored, err)
		}
		if stored.Count != 1 || stored.Of != 1 {
			t.Errorf("%v, want 1 of 1", stored)
		}
		if v, err := s.nodes[2].Get(within(t, time.Minute), routing.KeyOf("x"), nil); err != nil || string(v.Data) != "y" {
			t.Errorf("the node's own copy: %q, %v", v.Data, err)
		}
	})
}

// The answer to a STORE names contacts as FIND_NODE does, but none beyond the
// bound that the asker gives (wire/SPEC.md §5).
func TestStoredNamesContactsWithinTheBound(t *testing.T) {
	inSwarm(t, 6, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		key := routing.KeyOf("x")
		r := signed(t, 1, wire.Record{Kind: wire.KindOpen, Key: key, Expiry: time.Now().Add(time.Hour)})
		k := s.stranger(0).meet(s.nodes[0])
		ask := func(bound routing.Key) (keys []routing.Key) {
			m, ok := k.ask(wire.Store{Records: []*wire.Signed{r}, Count: 20, Bound: bound}).(wire.Stored)
			if !ok || len(m.Results) != 1 || m.Results[0] != wire.CodeOK {
				t.Fatalf("answered %v", m)
			}
			for _, c := range m.Contacts {
				keys = append(keys, c.Key())
			}
			return keys
		}
		all := ask(routing.Key{})
		if len(all) != 5 || !slices.IsSortedFunc(all, key.CompareDistance) {
			t.Fatalf("%d contacts without a bound, want 5, nearest first", len(all))
		}
		for i, bound := range all {
			if got := ask(bound); !slices.Equal(got, all[:i]) {
				t.Errorf("bound %d: %d contacts, want the %d nearer ones", i, len(got), i)
			}
		}
	})
}
