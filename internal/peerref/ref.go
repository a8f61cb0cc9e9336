package node

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// A known is a peer as table, lookups and links have it in hand: one object
// for all of them, so that what a reply needs of a contact is a pointer away. To
// look up 20 peers for each reply, hash their IDs and find their addresses cost
// a tenth of a request.
type known struct {
	id  wire.PeerID
	key routing.Key // SHA3-256 of id
	// at are the addresses at which we ourselves authenticated the peer, latest
	// first: the only ones we name to others. What at points to never changes.
	at atomic.Pointer[[]wire.Addr]
	// silent is when an operation gave up waiting for the peer, in Unix
	// nanoseconds; 0: never, or the peer has answered since.
	silent atomic.Int64
}

// hasKeptSilent notes that an operation waited for the peer in vain.
func (k *known) hasKeptSilent(now time.Time) { k.silent.Store(now.UnixNano()) }

// hasAnswered notes that the peer is there.
func (k *known) hasAnswered() {
	if k.silent.Load() != 0 { // seldom: what is only read stays in every processor's cache
		k.silent.Store(0)
	}
}

// isSilent reports whether an operation waited for the peer in vain within d.
func (k *known) isSilent(now time.Time, d time.Duration) bool {
	at := k.silent.Load()
	return at != 0 && now.Sub(time.Unix(0, at)) < d
}

// addrs returns where the peer has been authenticated.
func (k *known) addrs() []wire.Addr {
	if at := k.at.Load(); at != nil {
		return *at
	}
	return nil
}

// The words this package uses for what package routing does with them.
type (
	contact       = routing.Contact[*known]
	query         = routing.Query[*known]
	lookupOptions = routing.LookupOptions[*known]
)

func (k *known) contact() contact { return contact{Key: k.key, Addr: k} }

// maxKnown bounds the registry: some 200 bytes each.
const maxKnown = 1 << 15

// registry finds the known of an ID. What is dropped from it lives on where it
// is in hand; a later one for the same peer takes its place when the peer is
// next linked. Goroutines may share it.
type registry struct {
	mu sync.Mutex
	m  map[wire.PeerID]*known
}

func (r *registry) of(id wire.PeerID) *known {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.get(id)
}

// get is of, for those who hold the lock.
func (r *registry) get(id wire.PeerID) *known {
	k := r.m[id]
	if k == nil {
		if len(r.m) >= maxKnown {
			clear(r.m)
		}
		k = &known{id: id, key: id.Key()}
		r.m[id] = k
	}
	return k
}

// contacts returns the contacts that a peer names.
func (r *registry) contacts(told []wire.Contact) []contact {
	contacts := make([]contact, len(told))
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range told {
		contacts[i] = r.get(told[i].ID).contact()
	}
	return contacts
}
