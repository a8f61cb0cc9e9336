package node

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// A label lasts as long as its publication, over a restart and a backup.
func TestLabels(t *testing.T) {
	dir := t.TempDir()
	inSwarm(t, 2, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		n := s.add(Config{Data: filepath.Join(dir, "data")})
		i := len(s.nodes) - 1
		key := s.put(n, routing.KeyOf("greeting"), "x", PutOptions{}).Key
		want := func(when, label string) {
			t.Helper()
			if p := n.Published(); len(p) != 1 || p[0].Label != label {
				t.Errorf("%s: %+v, want the label %q", when, p, label)
			}
		}
		want("without", "")
		if err := n.SetLabel(wire.KindOpen, key, "greeting"); err != nil {
			t.Fatal(err)
		}
		want("set", "greeting")
		backup := filepath.Join(dir, "backup")
		backupTo(t, n, backup)
		n.Close()
		n = s.again(i, filepath.Join(dir, "data"))
		want("after a restart", "greeting")
		if err := n.SetLabel(wire.KindOpen, routing.KeyOf("?"), "?"); !errors.Is(err, ErrNotFound) {
			t.Errorf("label of what is not published: %v", err)
		}
		if err := n.SetLabel(wire.KindOpen, key, strings.Repeat("x", MaxLabel+1)); err == nil {
			t.Error("a label that is too long is taken")
		}
		if _, err := n.Unpublish(within(t, time.Minute), wire.KindOpen, key); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		s.put(n, key, "y", PutOptions{})
		want("unpublished and put again", "")
		n.Close()
		n = s.again(i, filepath.Join(dir, "other"))
		if m, err := n.Merge(within(t, time.Minute), backup); err != nil || m.Publications != 1 {
			t.Errorf("merge: %+v, %v", m, err)
		}
		want("from a backup", "greeting")
	})
}
