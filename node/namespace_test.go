package node

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/search"
	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

func TestNamespacesHaveNoSlashes(t *testing.T) {
	for _, bad := range []string{"", "a/b", "/a"} {
		if _, err := New(Config{Namespaces: map[string]Namespace{bad: {}}}); err == nil {
			t.Errorf("namespace %q was accepted", bad)
		}
	}
}

// short allows values of up to five bytes.
var short = Namespace{Validate: func(v Value) error {
	if len(v.Data) > 5 {
		return errors.New("too long")
	}
	return nil
}}

// A record that the rules of a namespace refuse is neither put, held nor returned. The rules do not
// apply to other names.
func TestNamespaceRulesHoldForPutsHoldersAndReaders(t *testing.T) {
	inSwarm(t, 3, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		rules := Config{Namespaces: map[string]Namespace{"chat": short}}
		strict := []*Node{s.add(rules), s.add(rules)}
		for _, kind := range []wire.Kind{wire.KindOpen, wire.KindOwned} {
			put := PutOptions{Kind: kind, Name: []byte("/chat/room"), Publisher: testKey(100)}
			get := GetOptions{Kind: kind, Name: put.Name}
			if _, err := strict[0].Put(within(t, time.Minute), routing.Key{}, []byte("much too long"), &put); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), `"chat": too long`) {
				t.Errorf("put: %v", err)
			}
			// Of five nodes three know no rules.
			stored, err := s.nodes[0].Put(within(t, time.Minute), routing.Key{}, []byte("much too long"), &put)
			if err != nil || stored.Count != 3 || stored.Of != 5 {
				t.Errorf("%v put: %v, %v", kind, stored, err)
			}
			for _, n := range strict {
				if n.HasRecord(kind, stored.Key) {
					t.Errorf("%v is held by one who refuses it", kind)
				}
			}
			if v, err := strict[1].Get(within(t, time.Minute), stored.Key, &get); !errors.Is(err, ErrNotFound) {
				t.Errorf("%v was believed: %q, %v", kind, v.Data, err)
			}
			s.wantGet(s.nodes[1], stored.Key, get, "much too long")
			if stored := s.put(s.nodes[0], routing.Key{}, "short", put); stored.Count != 5 {
				t.Errorf("%v", stored)
			}
			s.wantGet(strict[1], stored.Key, get, "short")
			put.Name = []byte("/other/room")
			if stored := s.put(s.nodes[0], routing.Key{}, "much too long", put); stored.Count != 5 {
				t.Errorf("%v", stored)
			}
		}
	})
}

// An open record with a name is stored under the key of the name, and a get by name returns no
// others.
func TestOpenRecordsHaveNames(t *testing.T) {
	inSwarm(t, 3, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		name := []byte("/chat/room")
		key := routing.KeyOf("/chat/room")
		s.put(s.nodes[0], key, "nameless", PutOptions{Publisher: testKey(100)})
		time.Sleep(time.Minute)
		if stored := s.put(s.nodes[0], routing.Key{}, "named", PutOptions{Name: name, TTL: time.Hour}); stored.Key != key {
			t.Errorf("stored under %s, want %s", stored.Key, key)
		}
		if _, err := s.nodes[0].Put(t.Context(), routing.KeyOf("other"), nil, &PutOptions{Name: name}); !errors.Is(err, wire.ErrBadKey) {
			t.Errorf("under another key: %v", err)
		}
		s.wantGet(s.nodes[1], key, GetOptions{Quorum: 3}, "nameless") // it lives longer
		s.wantGet(s.nodes[1], routing.Key{}, GetOptions{Quorum: 3, Name: name}, "named")
	})
}

// A validator that panics refuses the record; the node lives on.
func TestAValidatorThatPanics(t *testing.T) {
	var log bytes.Buffer
	inSwarm(t, 2, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		n := s.add(Config{Logger: slog.New(slog.NewTextHandler(&log, nil)), Namespaces: map[string]Namespace{"chat": {
			Validate: func(v Value) error { panic("\x1b[31m" + string(v.Data)) },
		}}})
		stored := s.put(s.nodes[0], routing.Key{}, "boo", PutOptions{Name: []byte("/chat/room")})
		if stored.Count != 2 || stored.Of != 3 {
			t.Error(stored)
		}
		if _, err := n.Get(within(t, time.Minute), stored.Key, nil); !errors.Is(err, ErrNotFound) {
			t.Errorf("get: %v", err)
		}
		if s.put(s.nodes[0], routing.KeyOf("x"), "x", PutOptions{}).Count != 3 {
			t.Error("the node does not serve any more")
		}
		n.Close()
		if !strings.Contains(log.String(), "a validator panicked") || strings.Contains(log.String(), "\x1b") {
			t.Errorf("log: %s", log.String())
		}
	})
}

// A validator that never returns delays neither requests of other peers nor Close, and requests of the
// peer that sent the record for at most a second.
func TestAValidatorThatBlocks(t *testing.T) {
	inSwarm(t, 2, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		never := make(chan struct{})
		defer close(never)
		var calls atomic.Int32
		n := s.add(Config{Namespaces: map[string]Namespace{"chat": {
			Validate: func(v Value) error { calls.Add(1); <-never; return nil },
		}}})
		var batch []*wire.Signed
		for i := range wire.MaxStore {
			batch = append(batch, signed(t, i, wire.Record{
				Kind: wire.KindOpen, Name: []byte("/chat/room"), Key: routing.KeyOf("/chat/room"), Expiry: time.Now().Add(time.Hour)}))
		}
		for round := range 2 * search.MaxOverdue {
			start := time.Now()
			_, m, err := s.nodes[0].request(within(t, time.Minute), n.ID(), wire.Store{Records: batch})
			if took := time.Since(start); err != nil || took > 1100*time.Millisecond {
				t.Fatalf("round %d took %v: %v", round, took, err)
			}
			for i, code := range m.(wire.Stored).Results {
				if code != wire.CodeBusy {
					t.Fatalf("record %d: %v, want BUSY", i, code)
				}
			}
			if _, err := s.nodes[0].Ping(within(t, time.Minute), n.ID()); err != nil {
				t.Fatal(err)
			}
		}
		if calls.Load() != search.MaxOverdue {
			t.Errorf("%d calls never returned, want %d", calls.Load(), search.MaxOverdue)
		}
		n.Close()
	})
}

// Who chooses between publishers: the Selector of the get, else the rules of the
// namespace, else who lives longest. An application's order is asked of all of
// the k nearest.
func TestSelectors(t *testing.T) {
	least := func(a, b Value) bool { return string(a.Data) < string(b.Data) }
	inSwarm(t, 5, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		name := []byte("/chat/room")
		key := routing.KeyOf("/chat/room")
		for i, value := range []string{"b", "a", "c", "d"} {
			s.put(s.nodes[0], key, value, PutOptions{Name: name, Publisher: testKey(100 + i), TTL: time.Hour + time.Duration(i)*time.Minute})
		}
		rules := s.add(Config{Namespaces: map[string]Namespace{"chat": {Better: least}}})
		greatest := func(a, b Value) bool { return least(b, a) }
		s.wantGet(s.nodes[1], key, GetOptions{Quorum: 5}, "d")
		s.wantGet(s.nodes[1], key, GetOptions{Selector: least}, "a")
		s.wantGet(s.nodes[1], key, GetOptions{Selector: greatest}, "d")
		s.wantGet(rules, key, GetOptions{Name: name}, "a")
		s.wantGet(rules, key, GetOptions{Name: name, Selector: greatest}, "d")
		s.wantGet(s.nodes[1], key, GetOptions{Selector: func(a, b Value) bool { panic("boo") }}, "d")
		// Where the selector sees no difference it is ours that decides.
		for range 10 {
			s.wantGet(s.nodes[1], key, GetOptions{Selector: func(a, b Value) bool { return false }}, "d")
		}
	})
}

// A get that is cut short gives what it found, and says that there may be
// better.
func TestAGetCutShortSaysSo(t *testing.T) {
	inSwarm(t, 6, simnet.Options{Delay: 50 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		key := s.put(s.nodes[0], routing.Key{}, "x", PutOptions{Kind: wire.KindOwned, Name: []byte("n")}).Key
		n := s.nodes[1]
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if v, err := n.Get(ctx, key, &owned); string(v.Data) != "x" || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("cut short: %q, %v", v.Data, err)
		}
		short, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer stop()
		if v, err := n.Get(short, key, &GetOptions{Kind: wire.KindOwned, Quorum: 1}); string(v.Data) != "x" || err != nil {
			t.Errorf("one is enough: %q, %v", v.Data, err)
		}
		for i := range s.nodes {
			if i != 1 {
				s.kill(i)
			}
		}
		if v, err := n.Get(within(t, time.Hour), key, &owned); string(v.Data) != "x" || !errors.Is(err, ErrUnreachable) {
			t.Errorf("nobody else answers: %q, %v", v.Data, err)
		}
	})
}
