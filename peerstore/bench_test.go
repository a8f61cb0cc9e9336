package peerstore

import (
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// full returns a store of 16,384 peers, each met at two addresses.
func full() *Store {
	s := New(Options{})
	for i := range DefaultMaxPeers {
		s.Add(id(i), SourceDialled, noon, 0, addr(2*i))
		s.Add(id(i), SourceDialled, noon, 0, addr(2*i+1))
	}
	return s
}

// The paths that every request takes allocate nothing.
func TestNoAllocs(t *testing.T) {
	s := full()
	dst := make([]wire.Addr, 0, maxAddrs)
	known := addr(7)
	for name, f := range map[string]func(){
		"Add known":      func() { s.Add(id(3), SourceTold, noon, 0, known) },
		"Success known":  func() { s.Add(id(3), SourceDialled, noon, 0, known) },
		"AppendVerified": func() { dst = s.AppendVerified(dst[:0], id(3)) },
		"AppendAddrs":    func() { dst = s.AppendAddrs(dst[:0], id(3), noon) },
		"RTT":            func() { s.ObserveRTT(id(3), time.Millisecond); s.RTT(id(3)) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

func BenchmarkAdd(b *testing.B) {
	s := full()
	ids := make([]wire.PeerID, 1024)
	for i := range ids {
		ids[i] = id(i * 16)
	}
	known := make([]wire.Addr, len(ids))
	for i := range known {
		known[i] = addr(32 * i)
	}
	for _, src := range []Source{SourceTold, SourceDialled} {
		b.Run("known/"+src.String(), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				s.Add(ids[i&1023], src, noon, 0, known[i&1023])
			}
		})
	}
	b.Run("new", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			s.Add(wire.PeerID{byte(i), byte(i >> 8), byte(i >> 16), byte(i >> 24), 9}, SourceTold, noon, 0, known[0])
		}
	})
}

func BenchmarkAppendVerified(b *testing.B) {
	s := full()
	dst := make([]wire.Addr, 0, maxAddrs)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		dst = s.AppendVerified(dst[:0], id(i&1023))
	}
}

func BenchmarkAppendAddrs(b *testing.B) {
	s := full()
	dst := make([]wire.Addr, 0, maxAddrs)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		dst = s.AppendAddrs(dst[:0], id(i&1023), noon)
	}
}

func BenchmarkSnapshot(b *testing.B) {
	s := full()
	for b.Loop() {
		s.Snapshot(io.Discard, noon)
	}
}

func BenchmarkLoad(b *testing.B) {
	data := snapshot(b, full(), noon)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		New(Options{}).Load(bytes.NewReader(data), noon)
	}
}
