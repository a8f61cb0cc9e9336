package relay

import (
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// A Link is a connection to a peer. Its methods must not block.
type Link interface {
	SendDatagram(b []byte) bool // copies b; returns false if it dropped b
	MaxDatagram() int           // bytes that fit one datagram
}

// A Server relays between peers. Make it with [NewServer]. Goroutines may share it. Its memory
// is bounded by its Limits and by the number of attached peers.
type Server struct {
	limits Limits

	mu       sync.Mutex // no Link is called while it is held
	peers    map[wire.PeerID]*peer
	networks map[netip.Prefix]*network
	flows    map[pair]*flow
	total    bucket
	early    int // waiting datagrams of all peers
	stats    Stats
}

// A peer is an attached peer.
type peer struct {
	link    Link
	network *network // nil: not limited as one of a network
	expires time.Time
	calls   bucket // calls to it
	flows   int    // flows to it
	early   []early
}

// reserved reports whether the peer has a reservation.
func (p *peer) reserved(now time.Time) bool { return p != nil && now.Before(p.expires) }

// A network holds the limits that peers of one network share.
type network struct {
	prefix       netip.Prefix
	peers        int // attached; with none, and no flow, it is forgotten
	reservations int
	flows        int
	bytes, calls bucket
}

// An early datagram arrived before the call that permits it.
type early struct {
	at time.Time
	b  []byte
}

// Stats count the work of a relay.
type Stats struct {
	Reservations int   // current
	Flows        int   // current
	Calls        int64 // forwarded
	Refused      int64 // reservations and calls over a limit
	Packets      int64 // datagrams forwarded
	Bytes        int64 // of them, headers included
	Limited      int64 // datagrams dropped over a rate limit
	Stray        int64 // dropped because no call permits them or the recipient is gone
	Lost         int64 // dropped because a connection could not take them
}

// Dropped returns how many datagrams were dropped.
func (s Stats) Dropped() int64 { return s.Limited + s.Stray + s.Lost }

// ErrBusy is returned over a limit.
var ErrBusy = errors.New("relay: over a limit")

// ErrUnreachable is returned for a call to a peer that has no reservation.
var ErrUnreachable = errors.New("relay: the peer has no reservation here")

// NewServer makes a relay.
func NewServer(l Limits) *Server {
	return &Server{
		limits:   l.WithDefaults(),
		peers:    make(map[wire.PeerID]*peer),
		networks: make(map[netip.Prefix]*network),
		flows:    make(map[pair]*flow),
	}
}

// Attach sets the link to a peer, which replaces an earlier one and keeps its reservation. from
// is the peer's network; with the zero Prefix the limits of networks do not apply. Call it
// before the peer reserves or calls, and call Detach once for each link after its end.
func (s *Server) Attach(id wire.PeerID, from netip.Prefix, l Link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.peers[id]
	if p == nil {
		p = &peer{}
		s.peers[id] = p
	}
	if p.link == l {
		return
	}
	before := p.network
	p.link, p.network = l, s.enter(from)
	if !p.expires.IsZero() {
		before.reserve(-1)
		p.network.reserve(+1)
	}
	s.leave(before)
}

// Detach forgets a peer whose link has ended, unless it has another link since. Its flows stay
// for FlowIdle, because it may come back.
func (s *Server) Detach(id wire.PeerID, l Link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.peers[id]; p != nil && p.link == l {
		s.releaseLocked(p)
		s.leave(p.network)
		s.early -= len(p.early)
		delete(s.peers, id)
	}
}

// enter counts one more peer of a network.
func (s *Server) enter(from netip.Prefix) *network {
	if !from.IsValid() {
		return nil
	}
	n := s.networks[from]
	if n == nil {
		n = &network{prefix: from}
		s.networks[from] = n
	}
	n.peers++
	return n
}

func (s *Server) leave(n *network) {
	if n != nil {
		n.peers--
		s.tidy(n)
	}
}

// reserve adds to the reservations of a network. n may be nil.
func (n *network) reserve(by int) {
	if n != nil {
		n.reservations += by
	}
}

// tidy forgets a network without peers and flows.
func (s *Server) tidy(n *network) {
	if n != nil && n.peers == 0 && n.flows == 0 {
		delete(s.networks, n.prefix)
	}
}

// Reserve gives an attached peer a reservation, or renews it, and returns its lifetime. The
// error is ErrBusy.
func (s *Server) Reserve(id wire.PeerID, now time.Time) (time.Duration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.peers[id]
	if p == nil { // its link has just ended
		return 0, ErrBusy
	}
	if p.expires.IsZero() {
		if s.stats.Reservations >= s.limits.Reservations || p.network != nil && p.network.reservations >= s.limits.NetworkReservations {
			s.stats.Refused++
			return 0, ErrBusy
		}
		s.stats.Reservations++
		p.network.reserve(+1)
	}
	p.expires = now.Add(s.limits.Lifetime)
	return s.limits.Lifetime, nil
}

// Release ends a peer's reservation.
func (s *Server) Release(id wire.PeerID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.peers[id]; p != nil {
		s.releaseLocked(p)
	}
}

func (s *Server) releaseLocked(p *peer) {
	if p.expires.IsZero() {
		return
	}
	p.expires = time.Time{}
	s.stats.Reservations--
	p.network.reserve(-1)
}

// Reserved reports whether a peer has a reservation.
func (s *Server) Reserved(id wire.PeerID, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peers[id].reserved(now)
}

// Rate returns the bytes per second that one flow may use.
func (s *Server) Rate() int { return s.limits.FlowRate }

// Expire drops reservations and flows that have ended. Call it now and then.
func (s *Server) Expire(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.peers {
		if !p.expires.IsZero() && !p.reserved(now) {
			s.releaseLocked(p)
		}
		s.dropEarly(p, now)
	}
	for at, f := range s.flows {
		if now.Sub(f.used) > s.limits.FlowIdle {
			s.end(at, f)
		}
	}
}

// Stats returns a snapshot.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Flows = len(s.flows)
	return st
}
