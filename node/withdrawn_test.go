package node

import (
	"errors"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/publish"
	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// A holder that was cut off when a record was retracted learns it on its return, also after a restart of
// the publisher, and does not revive the record. A later publication stays.
func TestWithdrawnIsGoneEverywhere(t *testing.T) {
	data := t.TempDir()
	inSwarm(t, 4, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		n := s.add(Config{Data: data})
		i := len(s.nodes) - 1
		open, owned := routing.KeyOf("open"), PutOptions{Kind: wire.KindOwned, Name: []byte("n")}
		provided, again := routing.KeyOf("provided"), routing.KeyOf("again")
		for _, key := range []routing.Key{open, again} {
			s.put(n, key, "x", PutOptions{})
		}
		ownedKey := s.put(n, routing.Key{}, "x", owned).Key
		if _, err := n.Provide(within(t, time.Minute), provided); err != nil {
			t.Fatal(err)
		}
		at := map[publish.Key]bool{{Kind: wire.KindOpen, Key: open}: false, {Kind: wire.KindOpen, Key: again}: true, {Kind: wire.KindOwned, Key: ownedKey}: false, {Kind: wire.KindProvider, Key: provided}: false}
		s.net.Partition(hosts(2, 3))
		for at := range at {
			n.Unpublish(within(t, time.Minute), at.Kind, at.Key)
		}
		time.Sleep(time.Second)
		s.put(n, again, "y", PutOptions{})
		n.Close()
		time.Sleep(10 * time.Minute)
		for at := range at {
			if !s.nodes[2].HasRecord(at.Kind, at.Key) {
				t.Fatalf("%v: who was cut off holds it no more", at)
			}
		}
		s.net.Heal()
		n = s.again(i, data)
		time.Sleep(90 * time.Minute)
		for at, want := range at {
			for j, x := range s.nodes {
				if x.HasRecord(at.Kind, at.Key) != want {
					t.Errorf("%v: node %d holds it: %v", at, j, !want)
				}
			}
		}
		s.wantGet(s.nodes[2], again, GetOptions{Quorum: 5}, "y")
		for _, err := range s.nodes[1].FindProviders(within(t, time.Minute), provided) {
			if !errors.Is(err, ErrNotFound) {
				t.Errorf("providers: %v", err)
			}
		}
		for _, x := range s.nodes[1:] { // one peer is enough for the rest
			if x != n {
				x.Close()
			}
		}
		time.Sleep(25 * time.Hour) // the earlier ones have expired, and no search goes on
		if names, err := n.disk.Names("withdrawn/"); err != nil || len(names) != 0 {
			t.Errorf("still on disk: %q, %v", names, err)
		}
	})
}

// A refused put does not end the search for copies of an earlier, retracted record.
func TestRetractionAfterARefusedPut(t *testing.T) {
	inSwarm(t, 4, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		n, cut := s.nodes[0], s.nodes[3]
		key := s.put(n, routing.Key{}, "x", PutOptions{Kind: wire.KindOwned, Name: []byte("n")}).Key
		s.net.Partition(hosts(3, 4))
		n.Unpublish(within(t, time.Minute), wire.KindOwned, key)
		if _, err := putIf(within(t, time.Minute), n, []byte("n"), []byte("y"), 0); !errors.Is(err, ErrConflict) {
			t.Errorf("put in the place of none: %v", err)
		}
		time.Sleep(10 * time.Minute)
		if !cut.HasRecord(wire.KindOwned, key) {
			t.Fatal("who was cut off holds it no more")
		}
		s.net.Heal()
		time.Sleep(90 * time.Minute)
		for i, x := range s.nodes {
			if x.HasRecord(wire.KindOwned, key) {
				t.Errorf("node %d holds it", i)
			}
		}
	})
}
