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
	// maxTrysts bounds the peers whose paths are cared for at a time.
	maxTrysts = 1024
	// maxCalledTrysts is how many there may be for a stranger's call to begin another:
	// the rest is for those whom we call. maxUnproved is how many may have been begun by
	// calls through one relay, and come to no connection: so none, and nobody who calls
	// through it, takes the room of those who call through another.
	maxCalledTrysts = maxTrysts * 3 / 4
	maxUnproved     = maxCalledTrysts / wantRelays
	// callsRate and callsBurst bound the calls that are looked at, in a second and at
	// once.
	callsRate, callsBurst = 50, 200
	// maxKeyless bounds the calls of ours whose answer, and so whose keys, are
	// outstanding: each is shown every probe that is nobody else's.
	maxKeyless = 16
)

var errManyTrysts = errors.New("too many calls under way")

// trysts are the peers that we call or are called by, through relays. Goroutines may
// share it.
type trysts struct {
	mu      sync.Mutex
	of      map[wire.PeerID]*tryst
	ids     map[punch.ID]*tryst // of calls that have keys
	keyless map[*tryst]int      // calls that have none yet
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

func newTrysts() *trysts {
	return &trysts{
		of:      make(map[wire.PeerID]*tryst),
		ids:     make(map[punch.ID]*tryst),
		keyless: make(map[*tryst]int),
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

// tryst returns the tryst with a peer, and begins it if there is none, for a call
// through a relay by the peer; zero: by us.
func (n *Node) tryst(id, by wire.PeerID) (*tryst, error) {
	ms := n.trysts
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if m := ms.of[id]; m != nil {
		return m, nil
	}
	if len(ms.of) >= maxTrysts {
		return nil, errManyTrysts
	}
	m := newTryst(n, id)
	m.by = by
	if !n.spawn(m.run) {
		return nil, ErrClosed
	}
	ms.of[id] = m
	return m, nil
}

// trystWith returns the tryst with a peer, if there is one.
func (ms *trysts) trystWith(id wire.PeerID) *tryst {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	return ms.of[id]
}

// hasRoomFor reports whether a peer that calls through a relay may have a tryst begun.
func (ms *trysts) hasRoomFor(id, relay wire.PeerID) bool {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if ms.of[id] != nil {
		return true
	}
	unproved := 0
	for id, m := range ms.of {
		if _, connected := ms.paths[id]; m.by == relay && !connected {
			unproved++
		}
	}
	return len(ms.of) < maxCalledTrysts && unproved < maxUnproved
}

// end forgets a tryst.
func (ms *trysts) end(m *tryst) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	delete(ms.of, m.id)
	delete(ms.keyless, m)
	delete(ms.paths, m.id)
	for id, of := range ms.ids {
		if of == m {
			delete(ms.ids, id)
		}
	}
}

// asRelay notes that a peer is being dialled to be a relay, by so many more.
func (ms *trysts) asRelay(id wire.PeerID, by int) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if ms.relays[id] += by; ms.relays[id] <= 0 {
		delete(ms.relays, id)
	}
}

func (ms *trysts) isToRelay(id wire.PeerID) bool {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	return ms.relays[id] > 0
}

// expect has the probes of a call come to a tryst.
func (ms *trysts) expect(m *tryst, ids []punch.ID) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	for _, id := range ids {
		ms.ids[id] = m
	}
}

func (ms *trysts) forget(ids []punch.ID) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	for _, id := range ids {
		delete(ms.ids, id)
	}
}

// waiting notes that a tryst has one more, or less, call without keys.
func (ms *trysts) waiting(m *tryst, by int) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if ms.keyless[m] += by; ms.keyless[m] <= 0 {
		delete(ms.keyless, m)
	}
}

// tellPath tells the Trace of a path that is not what it was. It is the tryst's own
// goroutine that does so: what is told last is so.
func (n *Node) tellPath(socket *quic.Transport, id wire.PeerID) {
	ms := n.trysts
	at, ok := socket.PathTo(publicKey(id))
	if !ok {
		return
	}
	p := n.nodePath(id, at)
	ms.mu.Lock()
	was, told := ms.paths[id]
	m := ms.of[id]
	if m != nil {
		ms.paths[id] = p
		m.info.is(p, time.Now())
	}
	ms.mu.Unlock()
	if m == nil || told && was == p {
		return
	}
	m.poke()
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
	ms := n.trysts
	if id, ok := punch.CallOf(b); ok {
		ms.mu.Lock()
		defer ms.mu.Unlock()
		p := probe{via: via, from: from, b: [punch.Size]byte(b)}
		if m := ms.ids[id]; m != nil {
			m.gotProbe(p)
			return
		}
		shown := 0
		for m := range ms.keyless {
			m.gotProbe(p)
			if shown++; shown >= maxKeyless {
				break
			}
		}
		return
	}
	if a, ok := punch.AnswerWho(b, from); ok {
		if via == nil && ms.seens.AllowN(time.Now(), 1) {
			_ = n.transports[socket].SendProbe(from, a) // lost like any packet
		}
		return
	}
	if nonce, at, ok := punch.ParseSeen(b); ok {
		ms.mu.Lock()
		defer ms.mu.Unlock()
		if c := ms.whos[nonce]; c != nil {
			select {
			case c <- at:
			default:
			}
		}
	}
}

// caller is the socket that connections through relays use, all of one node: a call
// says which addresses may lead to it, and paths are set there. With several sockets
// it is the one that reaches most, of equals the first in Config.Listen. What that
// costs where no socket serves both families: by relay, paths of the other are not
// tried. An IPv6 wildcard serves both. Peers that can be dialled as they are, are, from any socket.
func (n *Node) caller() *quic.Transport {
	best := n.transports[0]
	for _, t := range n.transports[1:] {
		if reaches(t.LocalAddr().Addr()) > reaches(best.LocalAddr().Addr()) {
			best = t
		}
	}
	return best
}

// reaches ranks a socket by the address that it is bound to.
func reaches(local netip.Addr) int {
	switch {
	case local.IsUnspecified() && local.Is6(): // both families, see quic.ListenUDP
		return int(reach.ScopeGlobal) + 2
	case local.IsUnspecified():
		return int(reach.ScopeGlobal) + 1
	}
	return int(reach.ScopeOf(local))
}
