// Package peerref gives each peer one object, which the routing table, lookups and
// connections share, so that a reply finds the key and addresses of a contact behind one
// pointer: looking up 20 peers for each reply, hashing their IDs and finding their addresses
// cost a tenth of a request.
package peerref

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// A Ref is one peer. Make it with [Refs.Of]. Goroutines may share it.
type Ref struct {
	ID  wire.PeerID
	Key routing.Key // SHA3-256 of ID

	// addrs are the addresses at which this node authenticated the peer, latest
	// first. The slice it points to never changes.
	addrs atomic.Pointer[[]wire.Addr]
	// silent is when an operation last gave up waiting for the peer, in Unix
	// nanoseconds. It is 0 when no operation has, or the peer has answered since.
	silent atomic.Int64
}

// A Contact is a peer as package routing holds it.
type Contact = routing.Contact[*Ref]

// MarkSilent notes that an operation gave up waiting for the peer.
func (r *Ref) MarkSilent(now time.Time) { r.silent.Store(now.UnixNano()) }

// MarkAnswered notes that the peer has answered.
func (r *Ref) MarkAnswered() {
	if r.silent.Load() != 0 { // seldom: memory that is only read stays in every processor's cache
		r.silent.Store(0)
	}
}

// IsSilent reports whether an operation gave up waiting for the peer within the last d,
// and the peer has not answered since.
func (r *Ref) IsSilent(now time.Time, d time.Duration) bool {
	at := r.silent.Load()
	return at != 0 && now.Sub(time.Unix(0, at)) < d
}

// Addrs returns the addresses at which this node authenticated the peer, latest first:
// the only ones that it names to others. The caller must not change the slice.
func (r *Ref) Addrs() []wire.Addr {
	if at := r.addrs.Load(); at != nil {
		return *at
	}
	return nil
}

// SetAddrs replaces what Addrs returns. The caller must not change the slice afterwards.
func (r *Ref) SetAddrs(addrs []wire.Addr) { r.addrs.Store(&addrs) }

// Contact returns the peer as package routing holds it.
func (r *Ref) Contact() Contact { return Contact{Key: r.Key, Addr: r} }

// maxRefs bounds Refs. A Ref takes some 200 bytes.
const maxRefs = 1 << 15

// Refs finds the Ref of an ID. When it is full it forgets all. A forgotten Ref stays valid
// for its holders; a later one replaces it when the peer next connects.
// The zero value is ready to use. Goroutines may share it.
type Refs struct {
	mu sync.Mutex
	m  map[wire.PeerID]*Ref
}

// Of returns the Ref of a peer.
func (r *Refs) Of(id wire.PeerID) *Ref {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.of(id)
}

// of is Of for callers that hold the lock.
func (r *Refs) of(id wire.PeerID) *Ref {
	ref := r.m[id]
	if ref == nil {
		if len(r.m) >= maxRefs || r.m == nil {
			r.m = make(map[wire.PeerID]*Ref)
		}
		ref = &Ref{ID: id, Key: id.Key()}
		r.m[id] = ref
	}
	return ref
}

// Contacts returns the contacts that a peer names in a reply.
func (r *Refs) Contacts(named []wire.Contact) []Contact {
	contacts := make([]Contact, len(named))
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range named {
		contacts[i] = r.of(named[i].ID).Contact()
	}
	return contacts
}
