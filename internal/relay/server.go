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
	SendDatagram(b []byte) bool // copies b; false: it is dropped
	MaxDatagram() int           // bytes that fit one
}

// A Server relays between peers. Its methods may be called by several goroutines
// at once. What it keeps of peers is bounded by its Limits and by how many are
// attached.
type Server struct {
	limits Limits

	mu       sync.Mutex // no Link is called while it is held
	peers    map[wire.PeerID]*peer
	networks map[netip.Prefix]*network
	flows    map[pair]*flow
	total    bucket
	early    int // datagrams that wait, of all peers
	stats    Stats
}

// A peer is one that is attached.
type peer struct {
	link    Link
	network *network // nil: not limited as one of a network
	expires time.Time
	calls   bucket // to it
	flows   int    // to it
	early   []early
}

// reserved reports whether it is relayed to.
func (p *peer) reserved(now time.Time) bool { return p != nil && now.Before(p.expires) }

// A network is what peers of one network share.
type network struct {
	prefix       netip.Prefix
	peers        int // attached; with none, and no flow, it is forgotten
	reservations int
	flows        int
	bytes, calls bucket
}

// An early datagram came before the call that makes it welcome.
type early struct {
	at time.Time
	b  []byte
}

// Stats are what a relay does and has done.
type Stats struct {
	Reservations int   // held now
	Flows        int   // now
	Calls        int64 // passed on
	Refused      int64 // reservations and calls, for a limit
	Packets      int64 // datagrams forwarded
	Bytes        int64 // of them, headers included
	Limited      int64 // datagrams dropped for a limit of rate
	Stray        int64 // dropped because nobody had called, or nobody is there
	Lost         int64 // dropped because a connection could not take them
}

// Dropped is the sum of the datagrams dropped.
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

// Attach says by which link a peer of a network is reached from now on. Of two,
// the latest counts; a reservation goes with it. The zero Prefix is no network: limits of networks do not
// apply. It is to be called before the peer reserves or calls, and Detach once
// for each link when it has ended.
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

// Detach forgets a peer whose link has ended, unless it has another since. Its
// flows stay for a while: it may come back.
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

// enter counts a peer of a network.
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

// reserve counts the reservations of a network, which may be none.
func (n *network) reserve(by int) {
	if n != nil {
		n.reservations += by
	}
}

// tidy forgets a network that nobody is left of.
func (s *Server) tidy(n *network) {
	if n != nil && n.peers == 0 && n.flows == 0 {
		delete(s.networks, n.prefix)
	}
}

// Reserve gives an attached peer a reservation, or renews it, and says for how
// long. The error is ErrBusy.
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

// Rate is the bytes a second that one flow may have.
func (s *Server) Rate() int { return s.limits.FlowRate }

// Expire drops what has ended: it is to be called now and then.
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
