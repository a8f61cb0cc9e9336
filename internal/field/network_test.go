package field

import (
	"fmt"
	"sync"
	"testing"

	"github.com/kadquic/kadquic/internal/natlab"
)

// A network is a lab with public nodes, which serve any peer as bootstrap node and relay.
type network struct {
	*natlab.Lab
	t      *testing.T
	public []*peer
	join   []string // addresses of the first of them
	lies   int
}

// publicPort is the port of the public nodes.
const publicPort = 4774

// build makes a lab, and a network of so many public nodes in it.
func build(t *testing.T, nodes int, config ...natlab.Config) *network {
	t.Helper()
	if testing.Short() {
		t.Skip("builds a network")
	}
	if !*strict {
		t.Parallel()
	}
	n := &network{Lab: natlab.New(t, config...), t: t}
	for i := range nodes {
		p := start(t, n.Public(fmt.Sprintf("public-%d", i)), setting{Bootstrap: n.join, Port: publicPort})
		n.public = append(n.public, p)
		if i == 0 {
			n.join = []string{p.at(), fmt.Sprintf("/ip6/%v/udp/%d/quic-v1/p2p/%s", p.IP6(), publicPort, p.ID)}
		}
	}
	for _, p := range n.public {
		p.settled("all public nodes in the table", func(s state) bool { return s.Peers >= nodes-1 })
	}
	return n
}

// at returns the address of a public node.
func (p *peer) at() string {
	return fmt.Sprintf("/ip4/%v/udp/%d/quic-v1/p2p/%s", p.IP4(), publicPort, p.ID)
}

// peer starts a peer on a host, and waits until it is ready to be called.
func (n *network) peer(h *natlab.Host, s setting) *peer {
	n.t.Helper()
	s.Bootstrap = n.join
	p := start(n.t, h, s)
	p.ready()
	return p
}

// peers starts several at a time.
func (n *network) peers(hosts []*natlab.Host, s setting) []*peer {
	n.t.Helper()
	s.Bootstrap = n.join
	peers, errs := make([]*peer, len(hosts)), make([]error, len(hosts))
	var wg sync.WaitGroup
	for i, h := range hosts {
		wg.Go(func() { peers[i], errs[i] = launch(n.t, h, s) })
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			n.t.Fatalf("%s: %v", hosts[i].Name(), err)
		}
	}
	for _, p := range peers {
		p.ready()
	}
	return peers
}

// ready waits until a peer behind a NAT has a reservation at a relay, or needs none.
func (p *peer) ready() {
	p.t.Helper()
	if p.NAT() != nil {
		p.settled("a place at a relay, or somebody comes in", func(s state) bool { return len(s.Relays) > 0 || s.Reached })
	}
}

// findable waits until a lookup by another peer finds the addresses of a peer; if it has
// relays, through these.
func (p *peer) findable(by *peer) {
	p.t.Helper()
	relays := len(p.state().Relays)
	p.settled("it is found by others", func(state) bool {
		var found int
		return by.do(order{Do: "find", Peer: p.ID}, &found) == nil && (found > 0 || relays == 0)
	})
}

// ticket returns the ticket that a peer gives to its callers.
func (p *peer) ticket() []string {
	p.t.Helper()
	return p.state().Addrs
}
