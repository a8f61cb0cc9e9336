package peerstore

import (
	"bytes"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// The store works with zero, negative and huge options and arguments: huge values are
// cut, negative values mean the default, or nothing.
func TestInvalidArguments(t *testing.T) {
	for _, o := range []Options{
		{}, {MaxPeers: -1}, {MaxPeers: math.MinInt}, {MaxPeers: math.MaxInt},
		{MaxAddrs: -1}, {MaxAddrs: math.MaxInt}, {TTL: -1}, {TTL: math.MaxInt64}, {TTL: math.MinInt64},
	} {
		t.Run(fmt.Sprintf("%+v", o), func(t *testing.T) {
			s := New(o)
			for i, ttl := range []time.Duration{0, -1, math.MinInt64, math.MaxInt64, time.Hour} {
				s.Add(id(i), SourceDialled, noon, ttl, addr(i))
			}
			s.Add(id(0), SourceDialled, noon, 0)
			s.Add(id(0), Source(255), noon, 0, "", addr(9))
			s.Add(wire.PeerID{}, SourceTold, time.Time{}, 0, addr(9))
			for _, d := range []time.Duration{0, -1, math.MinInt64, math.MaxInt64} {
				s.ObserveRTT(id(0), d)
				if rtt, ok := s.RTT(id(0)); ok && rtt.Smoothed() < 0 {
					t.Errorf("round-trip time %v", rtt.Smoothed())
				}
			}
			s.Failure(id(0), "", noon)
			s.Failure(id(99), addr(0), noon)
			s.SetMode(id(0), 255)
			s.SetAgent(id(0), string(make([]byte, 1<<16)))
			s.SetRecord(id(0), nil)
			for _, i := range []int{0, 3, 4} {
				if len(s.AppendAddrs(nil, id(i), after(time.Minute))) == 0 {
					t.Errorf("the address of peer %d is forgotten within a minute", i)
				}
			}
			var b bytes.Buffer
			if err := s.Snapshot(&b, noon); err != nil {
				t.Fatal(err)
			}
			if err := New(o).Load(&b, noon); err != nil {
				t.Errorf("load: %v", err)
			}
			s.Prune(noon)
		})
	}
	for _, n := range []int{math.MinInt, -1, 0, 1, 1 << 20, math.MaxInt} {
		if d := Backoff(n); d < 0 || d > time.Hour {
			t.Errorf("Backoff(%d) = %v", n, d)
		}
	}
	_ = Source(255).String()
}
