package node

import (
	"errors"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/kadquic/kadquic/internal/punch"
	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

const (
	// maxAgents bounds the peers whose paths are cared for at a time.
	maxAgents = 1024
	// maxCalledAgents is how many there may be for a stranger's call to begin another:
	// the rest is for those whom we call. maxUnproved is how many may have been begun by
	// calls through one relay, and come to no connection: so none, and nobody who calls
	// through it, takes the room of those who call through another.
	maxCalledAgents = maxAgents * 3 / 4
	maxUnproved     = maxCalledAgents / wantRelays
	// callsRate and callsBurst bound the calls that are looked at, in a second and at
	// once.
	callsRate, callsBurst = 50, 200
	// maxKeyless bounds the calls of ours whose answer, and so whose keys, are
	// outstanding: each is shown every probe that is nobody else's.
	maxKeyless = 16
)

var errManyAgents = errors.New("too many calls under way")

// agents are the peers that we call or are called by, through relays. Goroutines may
// share it.
type agents struct {
	mu      sync.Mutex
	of      map[wire.PeerID]*agent
	ids     map[punch.ID]*agent // of calls that have keys
	keyless map[*agent]int      // calls that have none yet
	whos    map[uint64]chan netip.AddrPort
	paths   map[wire.PeerID]Path // as told last
	relays  map[wire.PeerID]int  // that are being dialled to be relays

	betters betters
	replays replayCache
	seens   *rate.Limiter // answers to WHO
	calls   *rate.Limiter // that come, from whomever
	callers callLimits

	birthdays   chan struct{} // one for each search under way
	searchCalls chan struct{} // one for each call for the sake of a search
}

func newAgents() *agents {
	return &agents{
		of:      make(map[wire.PeerID]*agent),
		ids:     make(map[punch.ID]*agent),
		keyless: make(map[*agent]int),
		whos:    make(map[uint64]chan netip.AddrPort),
		paths:   make(map[wire.PeerID]Path),
		relays:  make(map[wire.PeerID]int),
		seens:   rate.NewLimiter(200, 200),
		calls:   rate.NewLimiter(callsRate, callsBurst),
		callers: callLimits{by: make(map[wire.PeerID]*rate.Limiter)},

		birthdays:   make(chan struct{}, 2),
		searchCalls: make(chan struct{}, maxSearchCalls),
	}
}

// agent returns the agent with a peer, and begins it if there is none, for a call
// through a relay by the peer; zero: by us.
func (n *Node) agent(id, by wire.PeerID) (*agent, error) {
	gs := n.agents
	gs.mu.Lock()
	defer gs.mu.Unlock()
	if g := gs.of[id]; g != nil {
		return g, nil
	}
	if len(gs.of) >= maxAgents {
		return nil, errManyAgents
	}
	g := newAgent(n, id)
	g.by = by
	if !n.spawn(g.run) {
		return nil, ErrClosed
	}
	gs.of[id] = g
	return g, nil
}

// agentWith returns the agent with a peer, if there is one.
func (gs *agents) agentWith(id wire.PeerID) *agent {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	return gs.of[id]
}

// hasRoomFor reports whether a peer that calls through a relay may have an agent begun.
func (gs *agents) hasRoomFor(id, relay wire.PeerID) bool {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	if gs.of[id] != nil {
		return true
	}
	unproved := 0
	for id, g := range gs.of {
		if _, connected := gs.paths[id]; g.by == relay && !connected {
			unproved++
		}
	}
	return len(gs.of) < maxCalledAgents && unproved < maxUnproved
}

// end forgets an agent.
func (gs *agents) end(g *agent) {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	delete(gs.of, g.id)
	delete(gs.keyless, g)
	delete(gs.paths, g.id)
	for id, of := range gs.ids {
		if of == g {
			delete(gs.ids, id)
		}
	}
}

// asRelay notes that a peer is being dialled to be a relay, by so many more.
func (gs *agents) asRelay(id wire.PeerID, by int) {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	if gs.relays[id] += by; gs.relays[id] <= 0 {
		delete(gs.relays, id)
	}
}

func (gs *agents) isToRelay(id wire.PeerID) bool {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	return gs.relays[id] > 0
}

// expect has the probes of a call come to an agent.
func (gs *agents) expect(g *agent, ids []punch.ID) {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	for _, id := range ids {
		gs.ids[id] = g
	}
}

func (gs *agents) forget(ids []punch.ID) {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	for _, id := range ids {
		delete(gs.ids, id)
	}
}

// waiting notes that an agent has one more, or less, call without keys.
func (gs *agents) waiting(g *agent, by int) {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	if gs.keyless[g] += by; gs.keyless[g] <= 0 {
		delete(gs.keyless, g)
	}
}

// tellPath tells the Trace of a path that is not what it was. It is the agent's own
// goroutine that does so: what is told last is so.
func (n *Node) tellPath(socket *quic.Transport, id wire.PeerID) {
	gs := n.agents
	at, ok := socket.PathTo(publicKey(id))
	if !ok {
		return
	}
	p := n.nodePath(id, at)
	gs.mu.Lock()
	was, told := gs.paths[id]
	g := gs.of[id]
	if g != nil {
		gs.paths[id] = p
		g.info.is(p, time.Now())
	}
	gs.mu.Unlock()
	if g == nil || told && was == p {
		return
	}
	g.poke()
	n.config.Logger.Debug("path", "peer", id, "path", p.String(), "was", was.String())
	if t := n.config.Trace; t != nil && t.Path != nil {
		t.Path(PathEvent{Peer: id, Path: p, Was: was})
	}
}

// gotProbe takes a packet that is not QUIC's and came to a socket. It must not block,
// nor keep b.
func (n *Node) gotProbe(socket int, via *quic.Port, from netip.AddrPort, b []byte) {
	if n.running() != nil { // and all sockets are open
		return
	}
	gs := n.agents
	if id, ok := punch.ParseID(b); ok {
		gs.mu.Lock()
		defer gs.mu.Unlock()
		p := probe{via: via, from: from, b: [punch.Size]byte(b)}
		if g := gs.ids[id]; g != nil {
			g.gotProbe(p)
			return
		}
		shown := 0
		for g := range gs.keyless {
			g.gotProbe(p)
			if shown++; shown >= maxKeyless {
				break
			}
		}
		return
	}
	if a, ok := punch.AnswerBindingRequest(b, from); ok {
		if via == nil && gs.seens.AllowN(time.Now(), 1) {
			_ = n.transports[socket].SendProbe(from, a) // lost like any packet
		}
		return
	}
	if nonce, at, ok := punch.ParseBindingResponse(b); ok {
		gs.mu.Lock()
		defer gs.mu.Unlock()
		if c := gs.whos[nonce]; c != nil {
			select {
			case c <- at:
			default:
			}
		}
	}
}

// callSocket is the socket that connections through relays use, all of one node: a call
// says which addresses may lead to it, and paths are set there. With several sockets
// it is the one that reaches most, of equals the first in Config.Listen. What that
// costs where no socket serves both families: by relay, paths of the other are not
// tried. An IPv6 wildcard serves both. Peers that can be dialled as they are, are, from any socket.
func (n *Node) callSocket() *quic.Transport {
	best, bestRank := n.transports[0], -1
	for i, t := range n.transports {
		if rank := socketRank(t.LocalAddr().Addr(), n.ipv6Only[i]); rank > bestRank {
			best, bestRank = t, rank
		}
	}
	return best
}

// socketRank ranks a socket by the address that it is bound to.
func socketRank(local netip.Addr, ipv6Only bool) int {
	switch {
	case local.IsUnspecified() && local.Is6() && !ipv6Only: // both families, see quic.ListenUDP
		return int(reach.ScopeGlobal) + 2
	case local.IsUnspecified():
		return int(reach.ScopeGlobal) + 1
	}
	return int(reach.ScopeOf(local))
}
