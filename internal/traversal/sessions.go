package traversal

import (
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/kadquic/kadquic/internal/background"
	"github.com/kadquic/kadquic/internal/punch"
	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/peerstore"
	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

const (
	// maxSessions bounds the sessions.
	maxSessions = 1024
	// maxInboundSessions bounds the sessions that exist when an inbound call may begin
	// another; the rest is for outbound calls. maxUnconnected bounds the sessions without
	// a connection that calls through one relay began, so that no relay, and no caller
	// through it, takes the room of another relay.
	maxInboundSessions = maxSessions * 3 / 4
	maxUnconnected     = maxInboundSessions / MaxRelays
	// callRate and callBurst bound the inbound calls that are looked at.
	callRate, callBurst = 50, 200
	// maxKeylessOffered bounds the sessions with an unanswered outbound call to which a
	// probe of an unknown ID is offered.
	maxKeylessOffered = 16
)

var (
	// ErrClosed is returned once the background group has stopped.
	ErrClosed          = errors.New("traversal: closed")
	errTooManySessions = errors.New("too many calls under way")
)

// A Relay is a connection to a peer that relays for this node.
type Relay interface {
	ID() wire.PeerID
	Conn() *quic.Conn
	IsUp() bool
}

// Relays is the relay client.
type Relays interface {
	// Connect connects to a relay at its own addresses, never through another relay.
	Connect(ctx context.Context, relay wire.PeerID) (Relay, error)
	// Call sends a candidate offer to a peer through a relay and returns the answer. It
	// does not repeat the call: a callee accepts each offer once.
	Call(ctx context.Context, relay, peer wire.PeerID, offer []byte, padding int) (wire.Called, error)
	// Recover reports whether a call that failed with err may be repeated. If so, it has
	// taken the broken connection to the relay out of use.
	Recover(r Relay, err error) bool
	// RelaysOf returns the relays through which a peer may be called, the best first.
	RelaysOf(peer wire.PeerID) []wire.PeerID
	// Route returns the relay that packets to a peer go through.
	Route(peer wire.PeerID) (relay wire.PeerID, ok bool)
	// SetRoute sends packets to a peer through a relay, unless another relay works.
	SetRoute(peer wire.PeerID, r Relay)
	// ConfirmRoute notes that a peer can be reached through a relay.
	ConfirmRoute(peer wire.PeerID, r Relay)
	// SendCredit sends a peer so many bytes through the relay that only add credit.
	SendCredit(peer wire.PeerID, size int)
	// CheckRelays pings the relays that a peer may reach this node through. The PING
	// also tells a relay this node's new address.
	CheckRelays(peer wire.PeerID)
	// CheckRelay pings one relay and replaces a dead connection to it.
	CheckRelay(r Relay) error
}

// Host is the node to which the sessions belong.
type Host interface {
	// Socket returns the socket of all connections through relays.
	Socket() *quic.Transport
	// OnMachine reports whether the sockets belong to this machine; else they are
	// simulated.
	OnMachine() bool
	// NetworkTime returns the present time by the clocks of other peers.
	NetworkTime() time.Time
	// DialAddrs returns the addresses at which to dial a peer, the best first.
	DialAddrs(id wire.PeerID) []wire.Addr
	// FindObservers learns of further servers that could observe this node's address.
	FindObservers(ctx context.Context)
	// CallEvent and PathEvent report events to the user. They may block.
	CallEvent(CallEvent)
	PathEvent(PathEvent)
}

// Config configures Sessions. All fields but Admit are required.
type Config struct {
	Key        ed25519.PrivateKey // the node's; it signs candidate offers
	Host       Host
	Relays     Relays
	Background *background.Group // of all goroutines
	Pool       *quic.Pool        // values of its connections implement Relay
	Self       *reach.Self       // this node's own addresses and NAT
	Peers      *peerstore.Store
	Logger     *slog.Logger
	Admit      func(wire.PeerID) error // nil admits every caller
}

// Sessions are the sessions of one node with peers that it called, or that called it,
// through relays. Goroutines may share it.
type Sessions struct {
	config Config
	id     wire.PeerID // own
	host   Host
	relays Relays
	group  *background.Group

	mu           sync.Mutex // nothing outside this package is called while it is held
	byPeer       map[wire.PeerID]*session
	byID         map[punch.ID]*session // by the IDs of expected probes
	keyless      map[*session]int      // how many outbound calls of a session have no keys yet
	transactions map[uint64]chan netip.AddrPort
	paths        map[wire.PeerID]Path // as last reported

	upgrades     upgrades
	replays      replayCache
	bindingLimit *rate.Limiter // of binding responses
	callLimit    *rate.Limiter // of inbound calls, by all callers together
	callers      callerLimits

	searches    *background.Slots // port searches
	searchCalls *background.Slots // calls for a port search
}

// New makes Sessions without sessions.
func New(c Config) *Sessions {
	return &Sessions{
		config: c, host: c.Host, relays: c.Relays, group: c.Background,
		id: wire.PeerID(c.Key.Public().(ed25519.PublicKey)),

		byPeer:       make(map[wire.PeerID]*session),
		byID:         make(map[punch.ID]*session),
		keyless:      make(map[*session]int),
		transactions: make(map[uint64]chan netip.AddrPort),
		paths:        make(map[wire.PeerID]Path),

		bindingLimit: rate.NewLimiter(200, 200),
		callLimit:    rate.NewLimiter(callRate, callBurst),
		callers:      callerLimits{byPeer: make(map[wire.PeerID]*rate.Limiter)},

		searches:    c.Background.Slots(2),
		searchCalls: c.Background.Slots(maxSearchCalls),
	}
}

// session returns the session with a peer and begins one if there is none. For an inbound
// call, relay is the call's relay; for an outbound call it is zero.
func (m *Sessions) session(id, relay wire.PeerID) (*session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.byPeer[id]; s != nil {
		return s, nil
	}
	if len(m.byPeer) >= maxSessions {
		return nil, errTooManySessions
	}
	s := newSession(m, id)
	s.begunBy = relay
	if !m.group.Go(s.run) {
		return nil, ErrClosed
	}
	m.byPeer[id] = s
	return s, nil
}

// lookup returns the session with a peer, or nil.
func (m *Sessions) lookup(id wire.PeerID) *session {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.byPeer[id]
}

// Has reports whether there is a session with a peer.
func (m *Sessions) Has(id wire.PeerID) bool { return m.lookup(id) != nil }

// Len counts what is kept for sessions: the sessions, IDs of probes, calls without keys,
// and paths. It is 0 once the last session has ended.
func (m *Sessions) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.byPeer) + len(m.byID) + len(m.keyless) + len(m.paths)
}

// do has the goroutine of the session with a peer call f, and waits for that. It begins a
// session if there is none: see session.
func (m *Sessions) do(id, relay wire.PeerID, f func(s *session, now time.Time)) error {
	for {
		s, err := m.session(id, relay)
		if err != nil {
			return err
		}
		if s.do(func(now time.Time) { f(s, now) }) {
			return nil
		}
		if m.group.Context().Err() != nil {
			return ErrClosed
		}
	}
}

// hasRoomFor reports whether an inbound call through a relay may begin a session.
func (m *Sessions) hasRoomFor(id, relay wire.PeerID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byPeer[id] != nil {
		return true
	}
	unconnected := 0
	for id, s := range m.byPeer {
		if _, connected := m.paths[id]; s.begunBy == relay && !connected {
			unconnected++
		}
	}
	return len(m.byPeer) < maxInboundSessions && unconnected < maxUnconnected
}

// remove forgets a session.
func (m *Sessions) remove(s *session) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.byPeer, s.id)
	delete(m.keyless, s)
	delete(m.paths, s.id)
	for id, of := range m.byID {
		if of == s {
			delete(m.byID, id)
		}
	}
}

// addIDs directs probes of these IDs to a session.
func (m *Sessions) addIDs(s *session, ids []punch.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range ids {
		m.byID[id] = s
	}
}

func (m *Sessions) removeIDs(ids []punch.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range ids {
		delete(m.byID, id)
	}
}

// addKeyless adds n to the number of a session's calls without keys.
func (m *Sessions) addKeyless(s *session, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.keyless[s] += n; m.keyless[s] <= 0 {
		delete(m.keyless, s)
	}
}

// Probe handles a packet that is not QUIC's, received by a socket or one of its ports. It
// does not block and does not keep b.
func (m *Sessions) Probe(socket *quic.Transport, via *quic.Port, from netip.AddrPort, b []byte) {
	if id, ok := punch.ParseID(b); ok {
		m.handleCheck(id, probe{via: via, from: from, b: [punch.Size]byte(b)})
		return
	}
	if response, ok := punch.AnswerBindingRequest(b, from); ok {
		if via == nil && m.bindingLimit.AllowN(time.Now(), 1) {
			_ = socket.SendProbe(from, response) // may be lost like any packet
		}
		return
	}
	if id, at, ok := punch.ParseBindingResponse(b); ok {
		m.handleBindingResponse(id, at)
	}
}

// handleCheck gives a connectivity check to its session. One of an unknown ID may be the
// callee's, whose answer has not come yet.
func (m *Sessions) handleCheck(id punch.ID, p probe) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.byID[id]; s != nil {
		s.offerProbe(p)
		return
	}
	offered := 0
	for s := range m.keyless {
		s.offerProbe(p)
		if offered++; offered >= maxKeylessOffered {
			break
		}
	}
}

// AddCredit notes that a peer sent bytes through a relay that only add credit.
func (m *Sessions) AddCredit(peer wire.PeerID, size int) {
	if s := m.lookup(peer); s != nil {
		s.addCredit(size)
	}
}

// PathChanged notes that packets to a peer take another path. It does not block.
func (m *Sessions) PathChanged(peer wire.PeerID) {
	if s := m.lookup(peer); s != nil {
		s.wake.Set() // its goroutine reports the path
	}
}
