package reach

import (
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Config holds the functions by which a [Self] asks its node. It calls them while it is locked,
// so they must not call it.
type Config struct {
	// Alone reports whether the node knows so few peers that it believes a single one about
	// its own address. If nil, it never does.
	Alone func() bool
	// Machine returns the addresses of the machine's interfaces. If nil, there are none.
	Machine func() []Interface
}

// Self collects the addresses of a node, how peers see them, and whether strangers reach them.
// Make it with [New]. Goroutines may share it.
type Self struct {
	config Config

	mu        sync.Mutex
	listen    []netip.AddrPort
	ipv6Only  map[netip.AddrPort]bool     // of listen: bound to ::, and not serving IPv4
	own       []netip.AddrPort            // of the sockets and of the interfaces they listen on
	listed    time.Time                   // when that was asked of the machine
	machine   atomic.Pointer[[]Interface] // what it said then; read without the lock, too
	votes     votes
	contacted contacted
	mapped    map[uint16]netip.AddrPort  // by a router, which says so, to our ports
	verdicts  map[netip.AddrPort]Verdict // of places, and of SeenBy
	askable   int                        // networks whose peers there were to ask, when last looked
	came      time.Time                  // when a stranger last connected, at any address
	moved     time.Time                  // when the machine did, last
}

// New makes a Self that knows nothing.
func New(c Config) *Self {
	return &Self{
		config:   c,
		ipv6Only: make(map[netip.AddrPort]bool),
		mapped:   make(map[uint16]netip.AddrPort),
		verdicts: make(map[netip.AddrPort]Verdict),
	}
}

// ListensOn notes the address of a socket.
func (s *Self) ListensOn(a netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listen = append(s.listen, a)
	s.listed = time.Time{}
}

// ListensOnIPv6 is ListensOn for a socket that serves no IPv4 although it is bound to ::.
func (s *Self) ListensOnIPv6(a netip.AddrPort) {
	s.mu.Lock()
	s.ipv6Only[a] = true
	s.mu.Unlock()
	s.ListensOn(a)
}

// Listening returns the addresses of the sockets, in their order.
func (s *Self) Listening() []netip.AddrPort {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.listen)
}

// OnLoopback reports whether all sockets are bound to loopback addresses, about which there
// is nothing to find out.
func (s *Self) OnLoopback() bool {
	return !slices.ContainsFunc(s.Listening(), func(a netip.AddrPort) bool { return !a.Addr().IsLoopback() })
}

// MappedTo notes the external address that the router says it forwards to one of our ports. An
// address that is not public is ignored: no stranger can reach it.
func (s *Self) MappedTo(port uint16, outside netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.mapped, port)
	if ScopeOf(outside.Addr()) == ScopeGlobal {
		s.mapped[port] = outside
	}
}

// IsMapped reports whether the router says that it forwards an address to the node.
func (s *Self) IsMapped(at netip.AddrPort) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.isMappedLocked(at)
}

func (s *Self) isMappedLocked(at netip.AddrPort) bool {
	for _, m := range s.mapped {
		if m == at {
			return true
		}
	}
	return false
}

// Moved forgets how peers see and reach the node, because that was true at the old place.
// No filter is open at the new place yet, and late answers to earlier requests mean nothing.
func (s *Self) Moved(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.votes, s.contacted = votes{}, contacted{}
	clear(s.verdicts)
	s.listed, s.came, s.moved, s.askable = time.Time{}, time.Time{}, now, 0
}

// Expire drops outdated reports, and verdicts on addresses that the node no longer has.
func (s *Self) Expire(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.votes.expire(now)
	s.contacted.expire(now)
	places := s.candidatesLocked(now)
	maps.DeleteFunc(s.verdicts, func(at netip.AddrPort, _ Verdict) bool {
		if at.Port() == 0 { // SeenBy
			return !s.votes.outside(at.Addr().Is4()).IsValid()
		}
		return !slices.ContainsFunc(places, func(p Candidate) bool { return p.At == at })
	})
}
