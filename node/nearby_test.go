package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// A street is a Discovery by which all who use it find each other every second.
type street struct {
	mu   sync.Mutex
	ends map[wire.PeerID]func() []netip.AddrPort
	over int // Discover calls that have returned
}

func (s *street) Discover(ctx context.Context, self wire.PeerID, at func() []netip.AddrPort, found func(wire.PeerID, []netip.AddrPort)) error {
	s.mu.Lock()
	if s.ends == nil {
		s.ends = make(map[wire.PeerID]func() []netip.AddrPort)
	}
	s.ends[self] = at
	s.mu.Unlock()
	for ctx.Err() == nil {
		s.mu.Lock()
		for id, at := range s.ends {
			found(id, at())
		}
		s.mu.Unlock()
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.ends, self)
	s.over++
	return ctx.Err()
}

// alone starts a node that knows of no bootstrap peer.
func (s *testNetwork) alone(c Config) *Node {
	s.t.Helper()
	c.Bootstrap = []ma.Multiaddr{}
	n := s.make(c)
	if err := n.Start(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	return n
}

func TestPeersNearAreMet(t *testing.T) {
	inSwarm(t, 0, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		near := new(street)
		for range 5 {
			s.alone(Config{Discovery: near})
		}
		client := s.alone(Config{Discovery: near, Mode: ModeClient})
		time.Sleep(5 * time.Second)
		near.mu.Lock()
		if at := near.ends[client.ID()](); at != nil {
			t.Errorf("a client lets others find it at %v", at)
		}
		near.mu.Unlock()
		for i, n := range s.nodes {
			if got := n.Stats().Peers; got != 4 && !(i == 5 && got == 5) {
				t.Errorf("node %d knows %d", i, got)
			}
		}
		key := routing.KeyOf("k")
		if stored, err := client.Put(within(t, time.Minute), key, []byte("v"), nil); err != nil || stored.Count != 5 {
			t.Errorf("put: %v, %v", stored, err)
		}
		if v, err := s.nodes[3].Get(within(t, time.Minute), key, nil); err != nil || string(v.Data) != "v" {
			t.Errorf("get: %q, %v", v.Data, err)
		}
		// One that ends, and comes again elsewhere, is met again.
		s.nodes[2].Close()
		back := s.alone(Config{Discovery: near, Key: testKey(2)})
		time.Sleep(5 * time.Second)
		if got := back.Stats().Peers; got != 4 {
			t.Errorf("back again it knows %d", got)
		}
		s.closeAll()
		if near.over != len(s.nodes) {
			t.Errorf("%d of %d have ended their search", near.over, len(s.nodes))
		}
	})
}

// False reports of nearby peers cost a few dials at a time, and hide no real ones.
func TestLiesOfPeersNear(t *testing.T) {
	inSwarm(t, 1, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		real := s.nodes[0]
		n := s.alone(Config{Discovery: discovery(func(ctx context.Context, self wire.PeerID, found func(wire.PeerID, []netip.AddrPort)) {
			found(wire.PeerID{}, nil)
			found(self, []netip.AddrPort{host(0)})
			for i := 0; ctx.Err() == nil; i++ {
				lie := wire.PeerID(testKey(1000 + i).Public().(ed25519.PublicKey))
				found(lie, []netip.AddrPort{host(0), host(500), {}, netip.AddrPortFrom(netip.IPv6Unspecified(), 1)})
				if i%10 == 0 {
					found(real.ID(), []netip.AddrPort{host(0)})
				}
				select {
				case <-time.After(time.Second):
				case <-ctx.Done():
				}
			}
		})})
		time.Sleep(time.Minute)
		if got := n.Stats().Peers; got != 1 {
			t.Errorf("it knows %d", got)
		}
	})
}

// Without what looks for others a node runs on.
func TestNodeRunsWithoutDiscovery(t *testing.T) {
	inSwarm(t, 2, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		n := s.add(Config{Discovery: broken{}})
		time.Sleep(time.Minute)
		if got := n.Stats().Peers; got != 2 {
			t.Errorf("it knows %d", got)
		}
	})
}

type broken struct{}

func (broken) Discover(context.Context, wire.PeerID, func() []netip.AddrPort, func(wire.PeerID, []netip.AddrPort)) error {
	return errors.New("no interface")
}

// A discovery is a Discovery that only finds.
type discovery func(ctx context.Context, self wire.PeerID, found func(wire.PeerID, []netip.AddrPort))

func (d discovery) Discover(ctx context.Context, self wire.PeerID, _ func() []netip.AddrPort, found func(wire.PeerID, []netip.AddrPort)) error {
	d(ctx, self, found)
	return ctx.Err()
}
