package node

import (
	"iter"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/kadquic/kadquic/internal/netgroup"
	"github.com/kadquic/kadquic/internal/peerref"
	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/routing"
)

// The words of package routing, with the contacts of this package.
type (
	contact = peerref.Contact
	table   = routing.Table[*peerref.Ref]
)

// routes is the node's routing table (Kademlia §2.2). Goroutines may share it.
type routes struct {
	self   routing.Key
	joined func(contact)

	mu    sync.Mutex // held during joined, and during no other call out
	table *table
}

// newRoutes makes an empty table around self. It calls joined with each contact that
// enters the table, or answers again; joined must not call the table.
func newRoutes(self routing.Key, k int, joined func(contact)) *routes {
	return &routes{
		self:   self,
		joined: joined,
		table:  routing.NewTable(self, routing.TableOptions[*peerref.Ref]{K: k, Groups: groups, Joined: joined}),
	}
}

// groups names the networks that a contact belongs to, for the table's limits on
// contacts of one network: an attacker has many keys sooner than many networks.
// Loopback, link-local and private addresses are exempt. An address of a carrier's network counts
// by itself.
func groups(c contact) []routing.Group {
	at := c.Addr.Addrs()
	if len(at) == 0 {
		return nil
	}
	ap, ok := at[0].AddrPort()
	if !ok {
		return nil
	}
	addr := ap.Addr()
	network := netgroup.Of(addr)
	switch scope := reach.ScopeOf(addr); {
	case scope == reach.ScopeLoopback || scope == reach.ScopeLink || scope == reach.ScopePrivate && !netgroup.IsCarrier(addr):
		return nil
	case network.Bits() == network.Addr().BitLen(): // an address that counts by itself
		return []routing.Group{{Name: network, PerBucket: 1, PerTable: 2}}
	case network.Addr().Is4():
		return []routing.Group{{Name: network, PerBucket: 2, PerTable: 5}}
	}
	return []routing.Group{
		{Name: network, PerBucket: 1, PerTable: 2},
		{Name: netgroup.Within(addr, 24, 48), PerBucket: 3, PerTable: 10},
	}
}

// isTellable reports whether this node may name a contact to others by its address. A contact at
// an address that stands for another one (6to4, Teredo, NAT64) is of no use to them, and enters
// no table.
func isTellable(c contact) bool {
	at := c.Addr.Addrs()
	if len(at) == 0 {
		return true
	}
	ap, ok := at[0].AddrPort()
	return !ok || reach.ScopeOf(ap.Addr()) != reach.ScopeNone
}

// A routeChange is the effect of one report on the table.
type routeChange struct {
	len                        int // contacts afterwards
	joined, left, back, silent bool
	probe                      *peerref.Ref // to be pinged; nil: none
	promoted                   *peerref.Ref // took the place of the contact that left; nil: none
}

// Seen enters a peer that has answered, or moves it to the tail of its bucket
// (Kademlia §2.2).
func (r *routes) Seen(c contact, now time.Time) (change routeChange) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !isTellable(c) {
		change.left = r.table.Remove(c.Key)
		change.len = r.table.Len()
		return change
	}
	before, marked := r.table.Len(), r.table.Marked(c.Key)
	probe, ok := r.table.Seen(c, now)
	if ok {
		change.probe = probe.Addr
	}
	if marked {
		r.joined(c)
	}
	change.len = r.table.Len()
	change.joined = change.len > before
	change.back = marked && !r.table.Marked(c.Key)
	return change
}

// Failed notes that a peer left a request unanswered.
func (r *routes) Failed(key routing.Key, now time.Time) (change routeChange) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before, marked := r.table.Len(), r.table.Marked(key)
	promoted, ok := r.table.Failed(key, now)
	if ok {
		change.promoted = promoted.Addr
	}
	change.len = r.table.Len()
	change.left = change.len < before || ok
	change.silent = !marked && r.table.Marked(key)
	return change
}

// Regroup notes that the address of a peer has changed: it stays in the table only if the
// limits of its new networks admit it.
func (r *routes) Regroup(c contact) (change routeChange) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.table.Contains(c.Key)
	if isTellable(c) {
		r.table.Regroup(c)
	} else {
		r.table.Remove(c.Key)
	}
	change.left = before && !r.table.Contains(c.Key)
	change.len = r.table.Len()
	return change
}

// Remove takes a peer out of the table.
func (r *routes) Remove(key routing.Key) (change routeChange) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change.left = r.table.Remove(key)
	change.len = r.table.Len()
	return change
}

// Looked notes that a lookup of target has ended (Kademlia §2.3, refresh).
func (r *routes) Looked(target routing.Key, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.table.Looked(target, now)
}

// Len returns the number of contacts.
func (r *routes) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.table.Len()
}

// Contains reports whether a peer is in the table.
func (r *routes) Contains(key routing.Key) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.table.Contains(key)
}

// IsMarked reports whether a contact has left a request unanswered.
func (r *routes) IsMarked(key routing.Key) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.table.Marked(key)
}

// IsLive reports whether a peer is in the table and has left no request unanswered.
func (r *routes) IsLive(key routing.Key) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.isLive(key)
}

func (r *routes) isLive(key routing.Key) bool { return r.table.Contains(key) && !r.table.Marked(key) }

// IsNeighbour reports whether key belongs to a live contact in the complete subtree (Kademlia
// §2.4).
func (r *routes) IsNeighbour(key routing.Key) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.isLive(key) && r.self.CommonPrefixLen(key) >= r.table.Complete()
}

// HasLive reports whether any contact is live.
func (r *routes) HasLive() bool {
	var room [1]contact
	return len(r.Nearest(room[:0], r.self, 1)) > 0
}

// Nearest appends to dst up to count live contacts, the nearest to target first.
func (r *routes) Nearest(dst []contact, target routing.Key, count int) []contact {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.table.AppendNearest(dst, target, count)
}

// Closer counts the contacts that are nearer to key than this node.
func (r *routes) Closer(key routing.Key) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.table.Closer(key)
}

// Stale returns a random key of each bucket that no lookup has touched since before,
// and the depth of the complete subtree.
func (r *routes) Stale(before time.Time) (targets []routing.Key, depth int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	source := rand.NewPCG(rand.Uint64(), rand.Uint64())
	return slices.Collect(r.table.Stale(before, source)), r.table.Complete()
}

// Silent returns the contacts of the complete subtree that have said nothing since
// before.
func (r *routes) Silent(before time.Time) []contact { return r.collect((*table).Silent, before) }

// Suspects returns the contacts that are due for a ping because they did not answer.
func (r *routes) Suspects(now time.Time) []contact { return r.collect((*table).Suspects, now) }

func (r *routes) collect(list func(*table, time.Time) iter.Seq[contact], at time.Time) []contact {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(list(r.table, at))
}

// Refs returns all contacts, in no order.
func (r *routes) Refs() []*peerref.Ref {
	r.mu.Lock()
	defer r.mu.Unlock()
	refs := make([]*peerref.Ref, 0, r.table.Len())
	for c := range r.table.All() {
		refs = append(refs, c.Addr)
	}
	return refs
}

// Buckets returns the k-buckets as they stand.
func (r *routes) Buckets() []routing.Bucket[*peerref.Ref] {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(r.table.Buckets())
}

// Locked calls f with the table locked. f must be brief and must not call r.
func (r *routes) Locked(f func(*table)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(r.table)
}

// lockedKeys is for how many keys Each locks the table at once: some 50 µs.
const lockedKeys = 64

// Each calls f for 0 … n-1 with the table locked, and lets others get at the table now and
// then. f must be brief and must not call r.
func (r *routes) Each(n int, f func(t *table, i int)) {
	for from := 0; from < n; from += lockedKeys {
		r.Locked(func(t *table) {
			for i := from; i < min(from+lockedKeys, n); i++ {
				f(t, i)
			}
		})
	}
}
