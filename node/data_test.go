package node

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/internal/publish"
	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// nowhere is an empty bootstrap list, which testNetwork does not replace.
var nowhere = []ma.Multiaddr{}

// again starts a node in the place of the i-th, which has ended: the same
// identity, address and directory, and no bootstrap list.
func (s *testNetwork) again(i int, data string) *Node {
	s.t.Helper()
	n := s.make(Config{
		Key: testKey(i), Data: data, Bootstrap: nowhere, PacketConns: []net.PacketConn{s.net.Listen(host(i))},
	})
	s.nodes[i], s.nodes = n, s.nodes[:len(s.nodes)-1]
	if err := n.Start(within(s.t, time.Minute)); err != nil {
		s.t.Fatal(err)
	}
	return n
}

// A disk that cannot be written is tried again now and then, not all the time.
func TestPeersOnAFullDisk(t *testing.T) {
	var log bytes.Buffer
	inSwarm(t, 2, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		n := s.add(Config{Data: t.TempDir(), Logger: slog.New(slog.NewTextHandler(&log, nil))})
		n.disk.Close()
		time.Sleep(20 * time.Minute)
		n.Close()
		if tries := strings.Count(log.String(), "cannot save the peers"); tries < 3 || tries > 25 {
			t.Errorf("tried %d times in 20 minutes", tries)
		}
	})
}

// A node that was closed or killed restarts with its records, peers and publications, and finds its
// network without a bootstrap list.
func TestRestart(t *testing.T) {
	for name, end := range map[string]func(*Node) error{"closed": (*Node).Close, "killed": (*Node).Kill} {
		t.Run(name, func(t *testing.T) {
			data := t.TempDir()
			inSwarm(t, 12, simnet.Options{Delay: 20 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
				ctx := within(t, time.Hour)
				n := s.add(Config{Data: data})
				i := len(s.nodes) - 1
				if stored, err := s.nodes[3].Put(ctx, routing.KeyOf("theirs"), []byte("kept"), nil); err != nil || stored.Count != 13 {
					t.Fatalf("put: %v, %v", stored, err)
				}
				if _, err := n.Put(ctx, routing.KeyOf("ours"), []byte("published"), nil); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * lookWhatIsNew)
				if err := end(n); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Minute)

				n = s.again(i, data)
				if !n.HasRecord(wire.KindOpen, routing.KeyOf("theirs")) || !n.HasRecord(wire.KindOpen, routing.KeyOf("ours")) {
					t.Error("what it held is gone")
				}
				if err := n.Bootstrap(ctx); err != nil {
					t.Fatalf("joining through the peers of its earlier life: %v", err)
				}
				if peers := n.Stats().Peers; peers != 12 {
					t.Errorf("%d peers in the table, want all 12", peers)
				}
				if v, err := n.Get(ctx, routing.KeyOf("theirs"), &GetOptions{Quorum: 10}); err != nil || string(v.Data) != "kept" {
					t.Errorf("get: %q, %v", v.Data, err)
				}
				if p := n.Published(); len(p) != 1 || p[0].Key != routing.KeyOf("ours") {
					t.Errorf("published: %+v", p)
				}
				// Its publications are signed again, and end in a day.
				time.Sleep(time.Minute)
				v, err := s.nodes[5].Get(ctx, routing.KeyOf("ours"), &GetOptions{Quorum: 13})
				if err != nil || string(v.Data) != "published" || time.Until(v.Expiry) < 24*time.Hour-2*time.Minute {
					t.Errorf("after the restart: %q that ends in %v, %v", v.Data, time.Until(v.Expiry), err)
				}
			})
		})
	}
}

// The first node of a network finds the nodes that have joined through it again, however soon it is
// killed afterwards.
func TestFirstNodeRestarts(t *testing.T) {
	data := t.TempDir()
	inSwarm(t, 0, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		first := s.add(Config{Data: data})
		s.add(Config{})
		time.Sleep(2 * lookWhatIsNew)
		first.Kill()
		time.Sleep(time.Minute)
		first = s.again(0, data)
		time.Sleep(time.Minute)
		if peers := first.Stats().Peers; peers != 1 {
			t.Errorf("it knows %d peers a minute later, want 1", peers)
		}
	})
}

// A node that ended without peers starts at once, and peers that know it find it.
func TestRestartAlone(t *testing.T) {
	data := t.TempDir()
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		s.add(Config{Data: data}).Close()
		s.nodes[0].Close()
		start := time.Now()
		s.again(1, data)
		if took := time.Since(start); took > 0 {
			t.Errorf("Start waited %v for peers that are gone", took)
		}
		other := s.again(0, t.TempDir())
		if err := other.Bootstrap(within(t, time.Minute), s.addrs(1)...); err != nil {
			t.Error(err)
		}
	})
}

// A node that loses its network, and is restarted without it, knows it still
// when it is back.
func TestRestartWithoutNetwork(t *testing.T) {
	data := t.TempDir()
	inSwarm(t, 4, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		s.add(Config{Data: data}).Close()
		s.net.Partition(hosts(0, 4), hosts(4, 5))
		n := s.again(4, data)
		time.Sleep(20 * time.Minute)
		n.Close()
		s.net.Heal()
		n = s.again(4, data)
		time.Sleep(time.Minute)
		if peers := n.Stats().Peers; peers != 4 {
			t.Errorf("%d peers a minute after the second restart, want 4", peers)
		}
	})
}

// A database that is damaged as a whole, or is none, ends Start with an error
// that says so; the file stays as it is.
func TestStartWithBadDatabase(t *testing.T) {
	for name, content := range map[string][]byte{
		"foreign": bytes.Repeat([]byte("not a database\n"), 10000),
		"short":   []byte("x"),
		"zeros":   make([]byte, 1<<16),
	} {
		data := t.TempDir()
		path := filepath.Join(data, databaseName)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		n, err := New(Config{Data: data})
		if err != nil {
			t.Fatal(err)
		}
		err = n.Start(t.Context())
		if err == nil {
			n.Close()
			t.Errorf("%s: Start took it", name)
		}
		t.Logf("%s: %v", name, err)
		if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, content) {
			t.Errorf("%s: the file was changed (%v)", name, err)
		}
		if err := n.running(); !errors.Is(err, ErrClosed) {
			t.Errorf("%s: the node is not closed: %v", name, err)
		}
	}
}

// Two nodes cannot have one directory.
func TestDataIsLocked(t *testing.T) {
	data := t.TempDir()
	inSwarm(t, 0, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		s.add(Config{Data: data})
		second := s.make(Config{Data: data})
		if err := second.Start(within(t, time.Minute)); err == nil {
			t.Error("the second has started")
		} else {
			t.Log(err)
		}
	})
}

// A saved tombstone ends a publication of which the end could not be saved: the record
// does not come back with the next start.
func TestWithdrawnOutlivesPublished(t *testing.T) {
	data := t.TempDir()
	inSwarm(t, 2, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		n := s.add(Config{Data: data})
		i := len(s.nodes) - 1
		key := s.put(n, routing.KeyOf("a"), "x", PutOptions{}).Key
		name := "published/" + (publish.Key{Kind: wire.KindOpen, Key: key}).String()
		was, err := n.disk.Saved(name)
		if err != nil || was == nil {
			t.Fatal(was, err)
		}
		time.Sleep(time.Second)
		if _, err := n.Unpublish(within(t, time.Minute), wire.KindOpen, key); err != nil {
			t.Fatal(err)
		}
		if err := n.disk.Save(name, was); err != nil {
			t.Fatal(err)
		}
		n.Close()
		n = s.again(i, data)
		if len(n.Published()) != 0 {
			t.Errorf("published: %+v", n.Published())
		}
		if is, err := n.disk.Saved(name); err != nil || is != nil {
			t.Errorf("%d bytes are left, %v", len(is), err)
		}
	})
}

// A backup is made while the node runs, and merged into another node with the same identity, whose
// newer records stay.
func TestBackupAndMerge(t *testing.T) {
	dir := t.TempDir()
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		ctx := within(t, time.Hour)
		n := s.add(Config{Data: filepath.Join(dir, "one")})
		put := func(n *Node, name, value string) {
			t.Helper()
			if _, err := n.Put(ctx, routing.KeyOf(name), []byte(value), nil); err != nil {
				t.Fatal(err)
			}
		}
		put(n, "a", "old")
		put(n, "b", "only in the backup")
		if err := s.nodes[0].Backup(new(bytes.Buffer)); !errors.Is(err, ErrNoData) {
			t.Errorf("backup of a node without a disk: %v", err)
		}
		file := filepath.Join(dir, "backup")
		f, err := os.Create(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Backup(f); err != nil {
			t.Fatal(err)
		}
		f.Close()
		n.Close()
		s.nodes[0].Close()

		time.Sleep(time.Second) // sequence numbers are milliseconds
		n = s.again(1, filepath.Join(dir, "two"))
		put(n, "a", "new")
		m, err := n.Merge(ctx, file)
		if err != nil || m.Records != 1 || m.Publications != 2 || m.Refused != 1 {
			t.Errorf("merge: %+v, %v; want 1 record, 2 publications, the older record refused", m, err)
		}
		time.Sleep(time.Minute)
		for name, want := range map[string]string{"a": "new", "b": "only in the backup"} {
			if v, err := n.Get(ctx, routing.KeyOf(name), nil); err != nil || string(v.Data) != want {
				t.Errorf("%s: %q, %v; want %q", name, v.Data, err, want)
			}
		}
		if p := n.Published(); len(p) != 2 {
			t.Errorf("%d publications, want 2", len(p))
		}
	})
}
