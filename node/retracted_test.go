package node

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/publish"
	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// backupTo writes a backup of n to a file.
func backupTo(t *testing.T, n *Node, file string) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := n.Backup(f); err != nil {
		t.Fatal(err)
	}
}

// everyKind publishes one record of each kind, and returns their slots.
func (s *testNetwork) everyKind(n *Node, value string) []publish.Key {
	s.t.Helper()
	open, provided := routing.KeyOf("open"), routing.KeyOf("provided")
	at := []publish.Key{
		{Kind: wire.KindOpen, Key: s.put(n, open, value, PutOptions{}).Key},
		{Kind: wire.KindOwned, Key: s.put(n, routing.Key{}, value, PutOptions{Kind: wire.KindOwned, Name: []byte("n")}).Key},
		{Kind: wire.KindContent, Key: s.put(n, routing.Key{}, "content", PutOptions{Kind: wire.KindContent}).Key},
		{Kind: wire.KindProvider, Key: provided},
	}
	if _, err := n.Provide(within(s.t, time.Minute), provided); err != nil {
		s.t.Fatal(err)
	}
	time.Sleep(time.Second) // sequence numbers are milliseconds
	return at
}

func (s *testNetwork) unpublish(n *Node, at []publish.Key) {
	s.t.Helper()
	for _, at := range at {
		if _, err := n.Unpublish(within(s.t, time.Minute), at.Kind, at.Key); err != nil {
			s.t.Fatal(err)
		}
	}
	time.Sleep(time.Second)
}

func (s *testNetwork) wantPublished(n *Node, when string, want int) {
	s.t.Helper()
	if p := n.Published(); len(p) != want {
		s.t.Errorf("%s: %d publications, want %d", when, len(p), want)
	}
}

// wantAlive compares which of the slots, content apart, other nodes hold anything in.
func (s *testNetwork) wantAlive(at []publish.Key, when string, want bool) {
	s.t.Helper()
	for _, at := range at {
		if held := s.nodes[1].HasRecord(at.Kind, at.Key); held != want && at.Kind != wire.KindContent {
			s.t.Errorf("%s: a record of kind %v is held: %v, want %v", when, at.Kind, held, want)
		}
	}
}

// A record that was unpublished after a backup was made stays unpublished when the backup is restored,
// however much later, and after a restart. A later publication stays.
func TestMergeKeepsLaterRetractions(t *testing.T) {
	for _, wait := range []time.Duration{time.Minute, 27 * time.Hour} {
		t.Run(fmt.Sprint(wait), func(t *testing.T) {
			dir := t.TempDir()
			inSwarm(t, 3, simnet.Options{}, func(t *testing.T, s *testNetwork) {
				n := s.add(Config{Data: filepath.Join(dir, "data")})
				i := len(s.nodes) - 1
				at := s.everyKind(n, "x")
				merge := func(when string, refused, published int) {
					t.Helper()
					file := filepath.Join(dir, "backup")
					c, err := os.ReadFile(file)
					if err != nil {
						t.Fatal(err)
					}
					copied := filepath.Join(dir, "copy")
					if err := os.WriteFile(copied, c, 0o600); err != nil {
						t.Fatal(err)
					}
					m, err := n.Merge(within(t, time.Minute), copied)
					if err != nil || m.Refused < refused || m.Publications != len(at)-refused {
						t.Errorf("%s: merge: %+v, %v; want %d refused", when, m, err, refused)
					}
					s.wantPublished(n, when, published)
				}
				backupTo(t, n, filepath.Join(dir, "backup"))
				s.unpublish(n, at)
				time.Sleep(wait)
				merge("after the retraction", len(at), 0)
				time.Sleep(2 * time.Hour)
				s.wantAlive(at, "two hours later", false)
				n.Close()
				n = s.again(i, filepath.Join(dir, "data"))
				merge("after a restart", len(at), 0)

				s.everyKind(n, "y")
				s.wantPublished(n, "published again", len(at))
				merge("with newer publications", 0, len(at))
				backupTo(t, n, filepath.Join(dir, "backup"))
				merge("with the same publications", 0, len(at))
				s.unpublish(n, at)
				merge("after the second retraction", len(at), 0)
			})
		})
	}
}

// What was unpublished when a backup was made ends when that is restored into a node that
// has it from before.
func TestMergeBringsLaterRetractions(t *testing.T) {
	for _, wait := range []time.Duration{time.Minute, 27 * time.Hour} {
		t.Run(fmt.Sprint(wait), func(t *testing.T) {
			dir := t.TempDir()
			inSwarm(t, 3, simnet.Options{}, func(t *testing.T, s *testNetwork) {
				n := s.add(Config{Data: filepath.Join(dir, "data")})
				i := len(s.nodes) - 1
				at := s.everyKind(n, "x")
				before, after := filepath.Join(dir, "before"), filepath.Join(dir, "after")
				backupTo(t, n, before)
				s.unpublish(n, at)
				time.Sleep(wait)
				backupTo(t, n, after)
				n.Close()
				// The profile is as it was before the retraction.
				old := filepath.Join(dir, "old")
				if err := os.Mkdir(old, 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.Rename(before, filepath.Join(old, databaseName)); err != nil {
					t.Fatal(err)
				}
				n = s.again(i, old)
				s.wantPublished(n, "before the merge", len(at))
				time.Sleep(10 * time.Minute)
				s.wantAlive(at[:1], "before the merge", true)
				m, err := n.Merge(within(t, time.Minute), after)
				if err != nil || m.Retracted != len(at) {
					t.Errorf("merge: %+v, %v; want %d retracted", m, err, len(at))
				}
				s.wantPublished(n, "after the merge", 0)
				time.Sleep(2 * time.Hour)
				s.wantAlive(at, "after the merge", false)
				n.Close()
				n = s.again(i, old)
				s.wantPublished(n, "after a restart", 0)
			})
		})
	}
}

// A publication that is newer than the backup's retraction stays.
func TestMergeKeepsPublicationsAfterRetractions(t *testing.T) {
	dir := t.TempDir()
	inSwarm(t, 3, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		n := s.add(Config{Data: filepath.Join(dir, "data")})
		at := s.everyKind(n, "x")
		s.unpublish(n, at)
		backup := filepath.Join(dir, "backup")
		backupTo(t, n, backup)
		s.everyKind(n, "y")
		if m, err := n.Merge(within(t, time.Minute), backup); err != nil || m.Retracted != 0 {
			t.Errorf("merge: %+v, %v", m, err)
		}
		s.wantPublished(n, "after the merge", len(at))
		time.Sleep(2 * time.Hour)
		s.wantAlive(at, "two hours later", true)
	})
}

// A put that is not kept alive ends the publication before it, and a backup does not bring
// that back.
func TestMergeKeepsReplacedPublicationsEnded(t *testing.T) {
	dir := t.TempDir()
	inSwarm(t, 3, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		n := s.add(Config{Data: filepath.Join(dir, "data")})
		key := s.put(n, routing.KeyOf("a"), "x", PutOptions{}).Key
		backup := filepath.Join(dir, "backup")
		backupTo(t, n, backup)
		time.Sleep(time.Second)
		s.put(n, key, "y", PutOptions{TTL: time.Hour})
		if m, err := n.Merge(within(t, time.Minute), backup); err != nil || m.Publications != 0 {
			t.Errorf("merge: %+v, %v", m, err)
		}
		s.wantPublished(n, "after the merge", 0)
		s.wantGet(s.nodes[1], key, GetOptions{Quorum: 4}, "y")
	})
}
