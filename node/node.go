package node

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kadquic/kadquic/internal/background"
	"github.com/kadquic/kadquic/internal/join"
	"github.com/kadquic/kadquic/internal/lookup"
	"github.com/kadquic/kadquic/internal/peerref"
	"github.com/kadquic/kadquic/internal/portmap"
	"github.com/kadquic/kadquic/internal/publish"
	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/internal/relay/client"
	"github.com/kadquic/kadquic/internal/relay/service"
	"github.com/kadquic/kadquic/internal/rendezvous"
	"github.com/kadquic/kadquic/internal/replica"
	"github.com/kadquic/kadquic/internal/responder"
	"github.com/kadquic/kadquic/internal/search"
	"github.com/kadquic/kadquic/internal/store"
	"github.com/kadquic/kadquic/internal/swarm"
	"github.com/kadquic/kadquic/internal/traversal"
	"github.com/kadquic/kadquic/peerstore"
	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// A Node is one peer of the network. Make it with [New]. Its methods may be
// called from any number of goroutines, from Start to Close.
type Node struct {
	config Config
	id     wire.PeerID
	key    routing.Key

	background *background.Group // all goroutines
	ctx        context.Context   // of background: ends with the node
	state      atomic.Int32

	opening sync.Mutex // held while Start opens the sockets; Close waits for it

	crashed atomic.Bool // by Kill

	closed chan struct{} // closed when Close is done

	sockets    []net.PacketConn
	transports []*quic.Transport
	ipv6Only   map[int]bool      // which of the sockets serve no IPv4 though bound to ::; set before the node runs
	mappers    []*portmap.Mapper // of sockets; set before the node runs
	dialer     swarm.Dialer
	pool       *quic.Pool
	links      links
	backoff    swarm.Backoff
	wanted     *swarm.Wanted

	peers      *peerstore.Store
	values     store.Store
	disk       *store.Disk // values, if Config.Data is given; nil otherwise. Both are set before the node runs
	remembered remembered
	refs       peerref.Refs
	quotas     *swarm.Quotas
	netRTT     swarm.RTT // of PING and FIND, over all peers
	dialRTT    swarm.RTT // from the dial of an unconnected peer to its HELLO
	storeRTT   swarm.RTT // of STORE with one record, less the peer's round trip
	skew       skew
	self       *reach.Self // where we are, and who reaches us there
	record     ownRecord
	genuine    swarm.VerifyCache // of peer records
	families   families
	sessions   *traversal.Sessions // with peers that are called through relays
	auto       autoMode
	reachProbe *reachProbe
	backs      *backs

	// fresh opens another socket on a new port; nil: the node's sockets are simulated.
	// onMachine: they are real. Both are set before the node runs.
	fresh     func(local netip.Addr) (net.PacketConn, error)
	onMachine bool
	relays    *client.Client   // the node's own use of relays
	relay     *service.Service // what the node does for others as a relay

	publications *publish.Publications
	renewer      *publish.Renewer
	rendezvous   *rendezvous.Keys

	routes    *routes
	lookups   *lookup.Runner
	search    *search.Searcher
	replica   *replica.Replicator
	responder *responder.Responder

	listenersMu sync.Mutex
	listeners   map[string]*Listener

	joiner    *join.Joiner
	probes    *background.Slots // pings for the table
	repairs   *background.Slots
	published [64]byte // signature of the peer record last published; task publish only

	publishing chan struct{} // has room for one: publish the record now

	counters counters
	served   requestCounters
}

const (
	stateNew int32 = iota
	stateRunning
	stateClosed
)

// New makes a node. It opens nothing and starts nothing.
func New(config Config) (*Node, error) {
	c, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	targets, err := splitBootstrap(c.Bootstrap)
	if err != nil {
		return nil, fmt.Errorf("node: %w", err)
	}
	for _, a := range c.Listen {
		if _, err := quic.ParseListen(a); err != nil {
			return nil, fmt.Errorf("node: listen address %q: %w", a, err)
		}
	}
	validators, err := newValidators(c.Namespaces, c.Logger)
	if err != nil {
		return nil, fmt.Errorf("node: %w", err)
	}
	group := background.NewGroup()
	n := &Node{
		config:     c,
		id:         wire.PeerID(c.Key.Public().(ed25519.PublicKey)),
		ctx:        group.Context(),
		background: group,
		closed:     make(chan struct{}),
		sockets:    c.PacketConns,
		ipv6Only:   make(map[int]bool),
		links:      links{of: make(map[*link]struct{})},
		wanted:     swarm.NewWanted(),
		refs:       peerref.Refs{},
		quotas:     swarm.NewQuotas(),
		listeners:  make(map[string]*Listener),
		probes:     group.Slots(8),
		repairs:    group.Slots(maxRepairs),
	}
	n.key = n.id.Key()
	n.self = n.newSelf()
	n.peers = peerstore.New(peerstore.Options{
		MaxAddrs: 2 * wire.MaxAddrs, // a record's, and those that others tell
		Prefer:   func(a, b wire.Addr) int { return n.self.Rank(ipOf(a), ipOf(b)) },
	})
	n.reachProbe, n.backs = newReachProbe(), newBacks()
	n.relays, n.relay = n.newRelayClient(), n.newRelayService()
	n.publishing = make(chan struct{}, 1)
	n.values = store.NewMemory(n.key, c.storeLimits())
	n.routes = newRoutes(n.key, c.K, func(c contact) { n.replica.Joined(c) })
	n.lookups = n.newLookups()
	n.replica = n.newReplica()
	n.responder = n.newResponder()
	n.search = n.newSearch(validators)
	n.publications = n.newPublications()
	n.renewer = publish.NewRenewer(n.publications, publishNetwork{n})
	n.rendezvous = rendezvous.New(rendezvousHost{n})
	n.joiner = n.newJoiner()
	n.joiner.AddTargets(targets)
	n.dialer = swarm.Dialer{Host: dialHost{n}, Wanted: n.wanted, FirstRelays: traversal.MaxRelays, MaxRelays: traversal.MaxDialRelays}
	n.pool = quic.NewPool(quic.PoolConfig{
		Self:           quic.PublicKey(n.id),
		Dial:           n.dial,
		Opened:         n.opened,
		Idle:           n.askBeforeIdleClose,
		MaxIn:          c.MaxConnections,
		Linger:         dialLinger,
		CloseIdle:      wire.CloseIdle,
		CloseDuplicate: wire.CloseDuplicate,
		CloseLeaving:   wire.CloseLeaving,
	})
	n.sessions = n.newSessions()
	return n, nil
}

// ID is the node's identity: its public key.
func (n *Node) ID() wire.PeerID { return n.id }

// Key is the node's place in the key space: SHA3-256 of its public key.
func (n *Node) Key() routing.Key { return n.key }

// Start opens the sockets, starts what runs in the background, and joins the
// network through Config.Bootstrap. When it returns nil the node has found its
// place. If no bootstrap peer answers, the error is a *BootstrapError: then, and
// when ctx ends while joining, the node runs all the same, and goes on trying.
// After any other error the node is closed. Without Config.Bootstrap it returns
// at once: a node that knows peers from an earlier life, by Config.Data, joins
// through them in the background; [Node.Bootstrap] with no peers waits for that.
// With a context that has ended already Start does nothing: the node can still be
// started.
func (n *Node) Start(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("node: %w", err)
	}
	if err := n.open(); err != nil {
		return err
	}
	for _, t := range n.transports {
		n.spawn(func() { n.accept(t) })
	}
	for _, t := range n.tasks() {
		n.spawn(func() { t.run(n.ctx) })
	}
	if !n.joiner.HasTargets() {
		n.replica.Settle()
	}
	if len(n.config.Bootstrap) == 0 {
		return nil
	}
	return n.joiner.Join(ctx)
}

// open makes a new node a running one, with its sockets open, or a closed one.
func (n *Node) open() error {
	n.opening.Lock()
	if n.state.Load() != stateNew {
		n.opening.Unlock()
		return cmp.Or(n.running(), errors.New("node: started before"))
	}
	err := n.openData()
	if err == nil {
		err = n.listen()
	}
	if err == nil {
		n.replica.Begin(time.Now())
		n.state.Store(stateRunning)
	}
	n.opening.Unlock()
	if err != nil {
		n.Close()
		return fmt.Errorf("node: %w", err)
	}
	return nil
}

// running returns an error unless the node is between Start and Close.
func (n *Node) running() error {
	switch n.state.Load() {
	case stateNew:
		return ErrNotStarted
	case stateClosed:
		return ErrClosed
	}
	return nil
}

// ready returns an error unless the node is running and ctx has not ended: an
// operation that returns it has done nothing.
func (n *Node) ready(ctx context.Context) error {
	if err := n.running(); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// spawn runs f in a goroutine that Close waits for; false once the node closes.
func (n *Node) spawn(f func()) bool { return n.background.Go(f) }

// Close leaves the network and ends all the node does: it tells peers that it
// leaves, and returns when every goroutine, socket and timer of it is gone.
// Peers get up to a second to read what was written to streams that have been
// closed since; streams that are still open are reset. Calling Close again does
// nothing.
func (n *Node) Close() error {
	if !n.leave() {
		<-n.closed
		return nil
	}
	n.closeListeners()
	grace, cancel := context.WithTimeout(context.Background(), closeGrace)
	n.drainAll(grace)
	cancel()
	n.stop()
	n.pool.Close() // before the disk, which may take long: peers need not wait for it
	err := n.remember()
	return errors.Join(err, n.finishClose())
}

// Kill ends the node as a crash would: its sockets first, so that peers hear no
// goodbye and have to find out. It is meant for tests, demonstrations and
// benchmarks. Like Close it leaves nothing behind; unlike Close it does not wait
// for peers to read what was written to streams.
func (n *Node) Kill() error {
	n.crashed.Store(true)
	if !n.leave() {
		<-n.closed
		return nil
	}
	n.stop()
	for _, s := range n.sockets {
		s.Close()
	}
	n.closeListeners()
	n.pool.Close()
	n.finishClose()
	return nil
}

// leave makes the node one that is closed to its user; false if it was already.
func (n *Node) leave() bool {
	n.opening.Lock()
	defer n.opening.Unlock()
	return n.state.Swap(stateClosed) != stateClosed
}

// stop ends the background work, except the connections.
func (n *Node) stop() { n.background.Stop() }

func (n *Node) finishClose() error {
	var errs []error
	for _, t := range n.transports {
		errs = append(errs, t.Close())
	}
	if len(n.transports) < len(n.sockets) { // Start failed half way, or never was
		for _, s := range n.sockets[len(n.transports):] {
			errs = append(errs, s.Close())
		}
	}
	n.background.Wait()
	errs = append(errs, n.values.Close())
	close(n.closed)
	return errors.Join(errs...)
}
