package node

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/publish"
	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// only returns the one publication of a node.
func only(t *testing.T, n *Node) Publication {
	t.Helper()
	all := n.Published()
	if len(all) != 1 {
		t.Fatalf("published: %+v, want one", all)
	}
	return all[0]
}

// A value lives on with its publisher, for days, and ends within 24 hours
// without.
func TestPublishedLivesOnWithItsPublisher(t *testing.T) {
	inSwarm(t, 3, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		n, key := s.nodes[1], routing.KeyOf("weather")
		began := time.Now()
		s.put(n, key, "fine", PutOptions{})
		first := only(t, n)
		if first.Kind != wire.KindOpen || first.Key != key || first.Size != 4 || first.Stored.Count != 3 || first.Err != nil {
			t.Errorf("published: %+v", first)
		}
		if after := first.Next.Sub(began); after.Round(time.Minute) != 20*time.Hour {
			t.Errorf("it is to be renewed after %v, want 20 h: 5/6 of its life", after)
		}
		for day := range 3 {
			time.Sleep(24 * time.Hour)
			s.wantGet(s.nodes[2], key, GetOptions{Quorum: 2}, "fine")
			p := only(t, n)
			if want := began.Add(time.Duration(day+1) * 20 * time.Hour); p.Renewed.Sub(want).Abs() > time.Minute {
				t.Errorf("day %d: renewed %v after the put", day, p.Renewed.Sub(began))
			}
			if p.Seq != first.Seq || p.Expiry.Sub(p.Renewed).Round(time.Minute) != 24*time.Hour {
				t.Errorf("day %d: sequence %d, was %d; expiry %v after it was signed", day, p.Seq, first.Seq, p.Expiry.Sub(p.Renewed))
			}
		}
		n.Close()
		time.Sleep(24 * time.Hour)
		if v, err := s.nodes[2].Get(within(t, time.Minute), key, nil); !errors.Is(err, ErrNotFound) {
			t.Errorf("24 h after its publisher: %q, %v", v.Data, err)
		}
	})
}

// A stateMap is a publish.StateStore in memory.
type stateMap struct {
	mu    sync.Mutex
	by    map[string][]byte
	saved int   // publications
	err   error // of the next savings
}

func (d *stateMap) Save(name string, data []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return d.err
	}
	if d.by == nil {
		d.by = make(map[string][]byte)
	}
	if strings.HasPrefix(name, "published/") {
		d.saved++
	}
	if data == nil {
		delete(d.by, name)
	} else {
		d.by[name] = data
	}
	return nil
}

func (d *stateMap) Saved(name string) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.by[name], nil
}

func (d *stateMap) Names(prefix string) (names []string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name := range d.by {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	return names, nil
}

// fail makes savings fail with err, or succeed if it is nil.
func (d *stateMap) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err = err
}

// published counts the publications that are saved.
func (d *stateMap) published() int {
	names, _ := d.Names("published/")
	return len(names)
}

// writes counts the savings of publications.
func (d *stateMap) writes() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.saved
}

// addWith starts a node whose publications are saved to d.
func (s *testNetwork) addWith(d *stateMap, c Config) *Node {
	s.t.Helper()
	n := s.make(c)
	n.publications.Load(d, time.Now())
	if err := n.Start(within(s.t, time.Minute)); err != nil {
		s.t.Fatal(err)
	}
	return n
}

// A record with a TTL ends then. It is not in the list of publications, and ends an earlier
// publication.
func TestATTLIsNeverRenewed(t *testing.T) {
	inSwarm(t, 2, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		d := &stateMap{}
		n := s.addWith(d, Config{RecordTTL: time.Hour})
		a, b := routing.KeyOf("a"), routing.KeyOf("b")
		s.put(n, a, "for an hour", PutOptions{TTL: time.Hour})
		s.put(n, b, "for good", PutOptions{})
		s.put(n, b, "not for good", PutOptions{TTL: 2 * time.Hour})
		if len(n.Published()) != 0 || d.published() != 0 {
			t.Errorf("published: %+v, on disk %d", n.Published(), d.published())
		}
		time.Sleep(2*time.Hour + time.Second)
		for _, key := range []routing.Key{a, b} {
			if v, err := s.nodes[1].Get(within(t, time.Minute), key, nil); !errors.Is(err, ErrNotFound) {
				t.Errorf("two hours later: %q, %v", v.Data, err)
			}
		}
	})
}

// The records of another publisher are his to renew.
func TestRecordsOfAnotherPublisherAreNotRenewed(t *testing.T) {
	inSwarm(t, 2, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		s.put(s.nodes[0], routing.KeyOf("a"), "x", PutOptions{Publisher: testKey(100)})
		s.put(s.nodes[0], routing.KeyOf("b"), "x", PutOptions{Publisher: testKey(0)}) // that is our own
		if p := only(t, s.nodes[0]); p.Key != routing.KeyOf("b") {
			t.Errorf("published: %+v", p)
		}
	})
}

// A put of the same kind and key replaces the publication, unless no peer has stored it.
func TestAPutReplacesThePublication(t *testing.T) {
	inSwarm(t, 3, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		n := s.add(Config{Mode: ModeClient, RecordTTL: time.Hour})
		d := &stateMap{}
		n.publications.Load(d, time.Now())
		key := routing.KeyOf("colour")
		s.put(n, key, "red", PutOptions{})
		s.put(n, key, "dark blue", PutOptions{})
		if p := only(t, n); p.Size != len("dark blue") || d.published() != 1 {
			t.Errorf("published: %+v, %d on disk", p, d.published())
		}
		s.net.Partition(hosts(3, 4))
		if _, err := n.Put(within(t, time.Minute), key, []byte("green"), nil); err == nil {
			t.Fatal("a put that nobody took succeeded")
		}
		if _, err := n.Put(within(t, time.Minute), routing.KeyOf("new"), []byte("x"), nil); err == nil {
			t.Fatal("a put that nobody took succeeded")
		}
		if p := only(t, n); p.Size != len("dark blue") || d.published() != 1 {
			t.Errorf("after a put that failed: %+v, %d on disk", p, d.published())
		}
		s.net.Heal()
		time.Sleep(3 * time.Hour)
		s.wantGet(s.nodes[1], key, GetOptions{Quorum: 3}, "dark blue")
	})
}

// An unpublished record is gone within a minute, except content, which expires.
func TestUnpublish(t *testing.T) {
	inSwarm(t, 3, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		d := &stateMap{}
		n := s.addWith(d, Config{RecordTTL: time.Hour})
		open := s.put(n, routing.KeyOf("open"), "x", PutOptions{}).Key
		owned := s.put(n, routing.Key{}, "x", PutOptions{Kind: wire.KindOwned, Name: []byte("n")}).Key
		content := s.put(n, routing.Key{}, "x", PutOptions{Kind: wire.KindContent}).Key
		keys := map[wire.Kind]routing.Key{wire.KindOpen: open, wire.KindOwned: owned, wire.KindContent: content}
		if len(n.Published()) != 3 || d.published() != 3 {
			t.Fatalf("published: %+v, %d on disk", n.Published(), d.published())
		}
		for kind, key := range keys {
			stored, err := n.Unpublish(within(t, time.Minute), kind, key)
			if want := 4; err != nil || kind != wire.KindContent && stored.Count != want || stored.Key != key {
				t.Errorf("unpublish %v: %v, %v", kind, stored, err)
			}
			if _, err := n.Unpublish(within(t, time.Minute), kind, key); !errors.Is(err, ErrNotFound) {
				t.Errorf("unpublish %v again: %v", kind, err)
			}
		}
		if len(n.Published()) != 0 || d.published() != 0 {
			t.Errorf("published: %+v, %d on disk", n.Published(), d.published())
		}
		time.Sleep(61 * time.Second)
		for kind, key := range keys {
			_, err := s.nodes[2].Get(within(t, time.Minute), key, &GetOptions{Kind: kind})
			if gone := errors.Is(err, ErrNotFound); gone != (kind != wire.KindContent) {
				t.Errorf("a minute later get of %v: %v", kind, err)
			}
		}
		// It may be published again.
		s.put(n, open, "again", PutOptions{})
		s.put(n, owned, "again", PutOptions{Kind: wire.KindOwned, Name: []byte("n")})
		time.Sleep(2 * time.Hour)
		s.wantGet(s.nodes[2], open, GetOptions{}, "again")
		s.wantGet(s.nodes[2], owned, GetOptions{Kind: wire.KindOwned}, "again")
		if _, err := s.nodes[2].Get(within(t, time.Minute), content, &GetOptions{Kind: wire.KindContent}); !errors.Is(err, ErrNotFound) {
			t.Errorf("content two hours after it was unpublished: %v", err)
		}
	})
}

// What is unpublished while the disk is full does not come back with the next start:
// that is noted as soon as it can be.
func TestUnpublishOnAFullDisk(t *testing.T) {
	inSwarm(t, 2, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		d := &stateMap{}
		n := s.addWith(d, Config{})
		key := s.put(n, routing.KeyOf("a"), "x", PutOptions{}).Key
		full := errors.New("no space left on device")
		d.fail(full)
		if _, err := n.Unpublish(within(t, time.Minute), wire.KindOpen, key); !errors.Is(err, full) {
			t.Errorf("unpublish: %v", err)
		}
		time.Sleep(5 * time.Minute)
		d.fail(nil)
		time.Sleep(2 * time.Minute)
		if names, _ := d.Names("published/"); len(names) > 0 {
			t.Errorf("%s are still on disk", names)
		}
	})
}

// Publications go on after a restart, signed again with a higher sequence number, also if the clock
// has gone back meanwhile.
func TestPublishedGoesOnAfterARestart(t *testing.T) {
	inSwarm(t, 3, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		d, me := new(stateMap), Config{Key: testKey(100), RecordTTL: 6 * time.Hour}
		n := s.addWith(d, me)
		name := []byte("profile")
		key := s.put(n, routing.Key{}, "first", PutOptions{Kind: wire.KindOwned, Name: name}).Key
		s.put(n, key, "second", PutOptions{Kind: wire.KindOwned, Name: name})
		before := only(t, n)
		// A version from when our clock was nine minutes ahead.
		ahead := signed(t, 100, wire.Record{
			Kind: wire.KindOpen, Key: routing.KeyOf("ahead"), Value: []byte("x"),
			Seq: uint64(time.Now().Add(9 * time.Minute).UnixMilli()), Expiry: time.Now().Add(6*time.Hour + 9*time.Minute),
		})
		n.publish(within(t, time.Minute), ahead, 3)
		d.Save("published/"+publish.KeyOf(ahead).String(), wire.AppendSigned(nil, ahead))
		n.Close()

		time.Sleep(time.Minute)
		n = s.addWith(d, me)
		time.Sleep(time.Minute)
		if all := n.Published(); len(all) != 2 || all[0].Seq != before.Seq+1 || all[0].Stored.Count != 4 || all[1].Seq != ahead.Record.Seq+1 {
			t.Fatalf("published: %+v, before %+v", all, before)
		}
		for _, at := range []publish.Key{{Kind: wire.KindOwned, Key: key}, publish.KeyOf(ahead)} {
			for i, x := range s.nodes[:3] {
				if r := x.values.Get(time.Now(), at.Kind, at.Key, 1); len(r) != 1 || time.Until(r[0].Record.Expiry).Round(time.Minute) != 6*time.Hour-time.Minute {
					t.Errorf("node %d does not hold %v signed anew", i, at)
				}
			}
		}
		s.wantGet(s.nodes[1], key, GetOptions{Kind: wire.KindOwned}, "second")
		n.Close()
		n = s.addWith(d, me) // and again
		time.Sleep(time.Minute)
		if all := n.Published(); len(all) != 2 || all[0].Err != nil || all[1].Err != nil || all[1].Stored.Count != 4 {
			t.Errorf("published: %+v", all)
		}
		s.put(n, key, "third", PutOptions{Kind: wire.KindOwned, Name: name})
		time.Sleep(7 * time.Hour)
		s.wantGet(s.nodes[1], key, GetOptions{Kind: wire.KindOwned}, "third")
		s.wantGet(s.nodes[1], publish.KeyOf(ahead).Key, GetOptions{}, "x")
	})
}

// A disk that cannot be written to fails a put before anything is published.
func TestAPutThatCannotBeNotedIsNotPublished(t *testing.T) {
	inSwarm(t, 2, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		n, full := s.nodes[1], errors.New("no space left on device")
		d := &stateMap{err: full}
		n.publications.Load(d, time.Now())
		key := routing.KeyOf("a")
		if _, err := n.Put(within(t, time.Minute), key, []byte("x"), nil); !errors.Is(err, full) {
			t.Errorf("put: %v", err)
		}
		if held := s.holders(wire.KindOpen, key, "x"); len(held) != 0 || len(n.Published()) != 0 {
			t.Errorf("held at %v, published %v", held, n.Published())
		}
		s.put(n, key, "x", PutOptions{TTL: time.Hour}) // that needs no note
	})
}
