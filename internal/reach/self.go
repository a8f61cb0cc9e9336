package reach

import (
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Config is what a [Self] asks its node. Both functions are called while it is locked:
// they must not call it.
type Config struct {
	// Alone reports whether the node knows hardly anybody: then it believes one who
	// says where it is. If nil, it is not.
	Alone func() bool
	// Machine returns the addresses of the machine's interfaces. If nil, there are none.
	Machine func() []Interface
}

// Self is where a node is, what others see of it, and who reaches it there. Make it
// with [New]. Goroutines may share it.
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
	came      time.Time                  // when somebody came in last to whom nothing had been sent, wherever
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

// OnLoopback reports whether all sockets are bound to loopback addresses: there is
// nothing to find out about those.
func (s *Self) OnLoopback() bool {
	return !slices.ContainsFunc(s.Listening(), func(a netip.AddrPort) bool { return !a.Addr().IsLoopback() })
}

// MappedTo notes where the router says that it lets others in to one of our ports. What
// is not a public address is not where anybody reaches us.
func (s *Self) MappedTo(port uint16, outside netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.mapped, port)
	if ScopeOf(outside.Addr()) == ScopeGlobal {
		s.mapped[port] = outside
	}
}

// IsMapped reports whether an address is one where the router says that it lets others in.
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

// Moved forgets how others see and reach us: that was true where the machine has been.
// No filter is open here yet, and what is still heard of those who were asked before
// says nothing.
func (s *Self) Moved(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.votes, s.contacted = votes{}, contacted{}
	clear(s.verdicts)
	s.listed, s.came, s.moved, s.askable = time.Time{}, time.Time{}, now, 0
}

// Expire drops what is too old to be true still, and what was known of addresses that
// are ours no more.
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
