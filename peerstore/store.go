// Package peerstore keeps what a node knows of other peers: the addresses at
// which they were said to be or were met, when that was, how fast they answer,
// their signed record. It decides nothing about routing; it answers "where do I
// reach this key, and in which order do I try".
//
// A [Store] is bounded in every direction, because most entries
// come from strangers: so many peers, so many addresses each, each address for a
// limited time. Peers that proved their key to us are never displaced by peers
// we were merely told of.
//
// Time is an argument; the package reads no clock. It knows wall time only, to
// the nanosecond in memory and to the second in a snapshot.
//
// [ErrSnapshot], which matches with [errors.Is], is the only sentinel error:
// [Store.Load] wraps it for damaged input. Other errors come from the reader or
// writer.
package peerstore

import (
	"iter"
	"sync"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// Defaults of [Options].
const (
	DefaultMaxPeers = 16384
	DefaultMaxAddrs = wire.MaxAddrs
	DefaultTTL      = 24 * time.Hour
)

// maxAddrs is the highest Options.MaxAddrs: ordering works on a fixed array.
const maxAddrs = 32

// maxPeers and maxTTL cut what is higher, so that sums with it do not overflow.
const (
	maxPeers = 1 << 24
	maxTTL   = 10 * 365 * 24 * time.Hour
)

// Options bound a [Store]. The zero value is the default.
type Options struct {
	// MaxPeers bounds the peers kept, at about 400 bytes each and 100 more for
	// every address. If zero, DefaultMaxPeers.
	MaxPeers int

	// MaxAddrs bounds the addresses kept of one peer.
	// If zero, DefaultMaxAddrs; at most 32.
	MaxAddrs int

	// Prefer compares addresses for which MaxAddrs leaves no room: the result is
	// negative if the first is the one to keep. Among those that are known equally
	// well the least preferred makes room. It is called while the store is locked,
	// and must not call it. If nil, all are equal.
	Prefer func(a, b wire.Addr) int

	// TTL is how long an address is kept after an Add that names no time, and
	// after a Success. If zero, DefaultTTL.
	TTL time.Duration
}

// A Store remembers peers. Make one with [New]. It is safe for concurrent use;
// one mutex guards all of it and is held for map look-ups and small copies only.
type Store struct {
	opts Options
	base time.Time // when it was made, see tick

	mu    sync.Mutex
	peers map[wire.PeerID]*peer
	// Every peer stands in exactly one of the lists, by its class; the most
	// recently met (or told of) first. From their ends peers are evicted.
	lists [classes]list
}

// New returns an empty store.
func New(o Options) *Store {
	if o.MaxPeers <= 0 {
		o.MaxPeers = DefaultMaxPeers
	}
	if o.MaxAddrs <= 0 {
		o.MaxAddrs = DefaultMaxAddrs
	}
	o.MaxAddrs = min(o.MaxAddrs, maxAddrs)
	if o.Prefer == nil {
		o.Prefer = func(wire.Addr, wire.Addr) int { return 0 }
	}
	if o.TTL <= 0 {
		o.TTL = DefaultTTL
	}
	o.MaxPeers, o.TTL = min(o.MaxPeers, maxPeers), min(o.TTL, maxTTL)
	s := &Store{opts: o, base: time.Now(), peers: make(map[wire.PeerID]*peer)}
	for i := range s.lists {
		s.lists[i].init()
	}
	return s
}

// tick is now in Unix nanoseconds by the monotonic clock of the process: setting the
// wall clock makes no entry expire sooner or later.
func (s *Store) tick(now time.Time) int64 { return s.base.UnixNano() + int64(now.Sub(s.base)) }

// Add notes that peer id may be reached at addrs, learned at now from src. They
// are kept for ttl from now; zero means Options.TTL, a negative ttl means for as
// long as the peer is kept. For a known address it only raises the source and
// extends its life, which is cheap enough to do for every message.
//
// SourceObserved and SourceDialled say that the peer proved its key at these
// addresses: they count as a success at now.
func (s *Store) Add(id wire.PeerID, src Source, now time.Time, ttl time.Duration, addrs ...wire.Addr) {
	if len(addrs) == 0 || !id.IsValid() || src == 0 || src > SourceUser {
		return
	}
	t := s.tick(now)
	var expiry int64 = forGood
	switch {
	case ttl == 0:
		expiry = t + int64(s.opts.TTL)
	case ttl > 0:
		expiry = t + int64(min(ttl, maxTTL))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.peers[id]
	if p == nil {
		if p = s.insert(id, src.class()); p == nil {
			return
		}
	}
	for _, a := range addrs {
		p.add(a, src, t, expiry, &s.opts)
	}
	if src.authenticated() {
		p.seen = max(p.seen, t)
	}
	s.touch(p, src.class())
}

// AppendAddrs appends the addresses to dial id at, unexpired, best first: those
// that have not failed lately, and among them the user's own, then by latest
// success, then by source, then the freshest. It appends to dst and returns it.
func (s *Store) AppendAddrs(dst []wire.Addr, id wire.PeerID, now time.Time) []wire.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.peers[id]
	if p == nil {
		return dst
	}
	var order [maxAddrs]uint8
	for _, i := range p.order(&order, s.tick(now)) {
		dst = append(dst, p.addrs[i].addr)
	}
	return dst
}

// AppendVerified appends the addresses at which we ourselves authenticated id's
// key, the latest success first, those that failed since last. These are the only
// ones a node may name to others besides the peer's own signed record. It
// allocates nothing when dst has room. Expired ones are gone only after Prune.
func (s *Store) AppendVerified(dst []wire.Addr, id wire.PeerID) []wire.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.peers[id]
	if p == nil {
		return dst
	}
	for i := range p.verified {
		dst = append(dst, p.addrs[i].addr)
	}
	return dst
}

// Failure notes that id could not be reached at addr at now, or that another
// peer answered there. The address is tried after others until its back-off is
// over (see AddrInfo.Retry), and is the first to make room.
func (s *Store) Failure(id wire.PeerID, addr wire.Addr, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.peers[id]; p != nil {
		p.fail(addr, s.tick(now))
	}
}

// Peer returns a copy of the entry of id.
func (s *Store) Peer(id wire.PeerID) (Info, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.peers[id]
	if p == nil {
		return Info{}, false
	}
	return p.info(), true
}

// All yields a snapshot of every peer: the user's own first, then those that
// proved their key, the latest met first, then those only told of. The store is
// not locked while the caller looks at one; a peer removed meanwhile is left out.
func (s *Store) All() iter.Seq[Info] {
	return func(yield func(Info) bool) {
		for _, id := range s.ids() {
			if info, ok := s.Peer(id); ok && !yield(info) {
				return
			}
		}
	}
}

// Len returns the number of peers known.
func (s *Store) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.peers)
}

// Prune removes expired addresses and records, and the peers that have neither
// left, and returns the number of these peers. Call it every few minutes: until
// then what has expired still takes room, but AppendAddrs does not give it out.
func (s *Store) Prune(now time.Time) int {
	t := s.tick(now)
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, p := range s.peers {
		if p.prune(t) {
			s.drop(p)
			n++
		}
	}
	return n
}
