package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"

	ma "github.com/multiformats/go-multiaddr"
	"golang.org/x/sync/errgroup"

	"github.com/kadquic/kadquic/node"
	"github.com/kadquic/kadquic/wire"
)

// A fleet is a network of nodes in this process, each on a loopback socket of
// its own, known by their numbers from 0. It is safe for concurrent use.
type fleet struct {
	network string
	k       int // 0: the node's default
	log     *slog.Logger

	mu      sync.Mutex
	members []*member
	byID    map[wire.PeerID]int
}

// A member is one node of a fleet. A killed one keeps its number.
type member struct {
	*node.Node
	number int
	dead   bool // guarded by fleet.mu
}

func newFleet(network string, k int, log *slog.Logger) *fleet {
	return &fleet{network: network, k: k, log: log, byID: make(map[wire.PeerID]int)}
}

// loopback is any free UDP port of this machine.
var loopback = sync.OnceValue(func() ma.Multiaddr {
	addr, err := ma.NewMultiaddr("/ip4/127.0.0.1/udp/0/quic-v1")
	if err != nil {
		panic(err) // it is a constant
	}
	return addr
})

// start brings up nodes 0 to n-1, and calls joined with the number that have.
// The nodes in seeds, in rising order and 0 the first, start one after another;
// each node joins through the seeds below it.
func (f *fleet) start(ctx context.Context, n int, seeds []int, joined func(int)) error {
	f.mu.Lock()
	f.members = make([]*member, n)
	f.mu.Unlock()

	count := 0
	var counting sync.Mutex
	bring := func(ctx context.Context, number int) error {
		if err := f.startMember(ctx, number, f.seedAddrs(seeds, number)); err != nil {
			return err
		}
		counting.Lock()
		defer counting.Unlock()
		count++
		joined(count)
		return nil
	}
	isSeed := make(map[int]bool)
	for _, s := range seeds {
		if s >= n {
			break
		}
		isSeed[s] = true
		if err := bring(ctx, s); err != nil {
			return err
		}
	}
	// Joining is work for the processor: more at a time would only wait.
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(2 * runtime.GOMAXPROCS(0))
	for i := range n {
		if !isSeed[i] {
			g.Go(func() error { return bring(ctx, i) })
		}
	}
	return g.Wait()
}

// seedAddrs are the addresses of the seeds numbered below number.
func (f *fleet) seedAddrs(seeds []int, number int) []ma.Multiaddr {
	var addrs []ma.Multiaddr
	for _, s := range seeds {
		if s >= number {
			break
		}
		if m, err := f.member(s); err == nil {
			addrs = append(addrs, m.Addrs()...)
		}
	}
	return addrs
}

// add starts one more node, which joins through the member via.
func (f *fleet) add(ctx context.Context, via *member) (*member, error) {
	f.mu.Lock()
	number := len(f.members)
	f.members = append(f.members, nil)
	f.mu.Unlock()
	if err := f.startMember(ctx, number, via.Addrs()); err != nil {
		return nil, err
	}
	return f.member(number)
}

func (f *fleet) startMember(ctx context.Context, number int, bootstrap []ma.Multiaddr) error {
	n, err := node.New(node.Config{
		Network:   f.network,
		K:         f.k,
		Mode:      node.ModeServer,
		Listen:    []ma.Multiaddr{loopback()},
		Bootstrap: bootstrap,
		Logger:    f.logger(number),
	})
	if err != nil {
		return err
	}
	if err := n.Start(ctx); err != nil {
		n.Close()
		return fmt.Errorf("node %d: %w", number, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.members[number] = &member{Node: n, number: number}
	f.byID[n.ID()] = number
	return nil
}

func (f *fleet) logger(number int) *slog.Logger {
	if f.log == nil {
		return nil
	}
	return f.log.With("node", number)
}

// member returns a living member by its number.
func (f *fleet) member(number int) (*member, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if number < 0 || number >= len(f.members) {
		return nil, fmt.Errorf("there is no node %d; they are 0 to %d", number, len(f.members)-1)
	}
	m := f.members[number]
	switch {
	case m == nil:
		return nil, fmt.Errorf("node %d did not start", number)
	case m.dead:
		return nil, fmt.Errorf("node %d is dead", number)
	}
	return m, nil
}

// living returns the members that live, by number.
func (f *fleet) living() []*member {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []*member
	for _, m := range f.members {
		if m != nil && !m.dead {
			all = append(all, m)
		}
	}
	return all
}

// size is how many members there ever were.
func (f *fleet) size() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.members)
}

// number finds a peer among the members.
func (f *fleet) number(id wire.PeerID) (int, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	number, ok := f.byID[id]
	return number, ok
}

// kill ends a member without a goodbye to its peers, like a power failure.
func (f *fleet) kill(m *member) error {
	f.mu.Lock()
	dead := m.dead
	m.dead = true
	f.mu.Unlock()
	if dead {
		return fmt.Errorf("node %d is dead", m.number)
	}
	return m.Kill()
}

// close ends all live members, without goodbyes.
func (f *fleet) close() error {
	var mu sync.Mutex
	var errs []error
	var g errgroup.Group
	g.SetLimit(2 * runtime.GOMAXPROCS(0))
	for _, m := range f.living() {
		g.Go(func() error {
			if err := f.kill(m); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
			return nil
		})
	}
	g.Wait()
	return errors.Join(errs...)
}
