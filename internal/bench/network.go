package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/node"
	"github.com/kadquic/kadquic/wire"
)

const (
	bootsAtOnce = 4
	bootLimit   = time.Minute // of one node's start
	opLimit     = time.Minute // of one operation
	closeAtOnce = 16
)

// network is many full nodes in this process.
type network struct {
	nodes []*node.Node
}

// startNode starts a node on 127.0.0.1 that joins through the given peers. It
// is configured as a user would who gives no more than that.
func startNode(ctx context.Context, bootstrap ...ma.Multiaddr) (*node.Node, error) {
	ctx, cancel := context.WithTimeout(ctx, bootLimit)
	defer cancel()
	listen, err := ma.NewMultiaddr("/ip4/127.0.0.1/udp/0/quic-v1")
	if err != nil {
		return nil, err
	}
	n, err := node.New(node.Config{Listen: []ma.Multiaddr{listen}, Bootstrap: bootstrap})
	if err != nil {
		return nil, err
	}
	if err := n.Start(ctx); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

// boot starts n nodes, each but the first bootstrapped from the first, and
// waits until all have joined.
func boot(ctx context.Context, j *job) (*network, spent, error) {
	j.say("%d nodes join, %d at once", j.N, bootsAtOnce)
	meter := start()
	first, err := startNode(ctx)
	if err != nil {
		return nil, spent{}, err
	}
	net := &network{nodes: make([]*node.Node, j.N)}
	net.nodes[0] = first
	_, err = drive(ctx, j.N-1, bootsAtOnce, func(ctx context.Context, _, i int) error {
		n, err := startNode(ctx, first.Addrs()...)
		if err != nil {
			return fmt.Errorf("node %d: %w", i+1, err)
		}
		net.nodes[i+1] = n
		return nil
	})
	if err != nil {
		net.close()
		return nil, spent{}, err
	}
	cost := meter.stop()
	j.say("joined: %.1f connections a node", float64(net.totals().connections)/float64(j.N))
	return net, cost, nil
}

// close closes all nodes that are still open.
func (net *network) close() {
	net.each(func(n *node.Node) { n.Close() })
}

// each calls f with every node, some at once.
func (net *network) each(f func(*node.Node)) {
	var wg sync.WaitGroup
	places := make(chan struct{}, closeAtOnce)
	for _, n := range net.nodes {
		if n == nil {
			continue
		}
		places <- struct{}{}
		wg.Go(func() {
			f(n)
			<-places
		})
	}
	wg.Wait()
}

// totals are sums over all nodes.
type totals struct {
	rpcs        int64 // requests sent so far
	connections int   // ends open now
}

func (net *network) totals() (t totals) {
	for _, n := range net.nodes {
		s := n.Stats()
		t.rpcs += s.Sent.Total()
		t.connections += s.Connections
	}
	return t
}

// gauged is a stretch of operations over a network.
type gauged struct {
	spent
	took latencies
	rpcs float64 // of one operation
}

// gauge drives m operations. An operation fails the whole only when ctx has
// ended; op counts other failures.
func (net *network) gauge(ctx context.Context, j *job, m int, op func(ctx context.Context, i int)) (gauged, error) {
	before := net.totals().rpcs
	meter := start()
	took, err := drive(ctx, m, j.C, func(ctx context.Context, _, i int) error {
		limited, cancel := context.WithTimeout(ctx, opLimit)
		defer cancel()
		op(limited, i)
		return ctx.Err()
	})
	cost := meter.stop()
	return gauged{cost, took, ratio(float64(net.totals().rpcs-before), float64(m))}, err
}

// overFloor returns the ratio of the CPU time of one of m operations to the CPU time of as
// many bare exchanges as it sends requests, each of floor microseconds.
func (g gauged) overFloor(m int, floor float64) float64 {
	return ratio(g.per(m, time.Microsecond), g.rpcs*floor)
}

// value is one value to be put and got.
type value struct {
	key            [32]byte
	data           []byte
	putter, getter int // nodes, never the same
}

// values chooses m values of v bytes under random keys, and the nodes that put and get each.
func (j *job) values(choose *rand.Rand) []value {
	values := make([]value, j.M)
	for i := range values {
		v := value{key: randomKey(choose), data: make([]byte, j.V)}
		for b := range v.data {
			v.data[b] = byte(choose.Uint32())
		}
		v.putter = choose.IntN(j.N)
		v.getter = (v.putter + 1 + choose.IntN(j.N-1)) % j.N
		values[i] = v
	}
	return values
}

// checkValue says whether a value of that size can be stored at all.
func (j *job) checkValue() error {
	if j.V > wire.MaxValue {
		return fmt.Errorf("values of %d bytes, at most %d can be stored", j.V, wire.MaxValue)
	}
	return nil
}
