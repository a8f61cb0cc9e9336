package lookup

import (
	"iter"
	"sync"
	"time"

	"github.com/kadquic/kadquic/internal/peerref"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// An Outcome gathers the results of a lookup. Goroutines may share it while the lookup runs.
// Call Named, Closest, Without, Answered and Causes only after the lookup has ended.
type Outcome struct {
	config *Config
	lookup *routing.Lookup[*peerref.Ref]

	mu        sync.Mutex
	referrals []referral
	answered  map[wire.PeerID]bool // peers that answered any request, with an error perhaps
	causes    map[wire.PeerID]error
	lastErr   error
}

// A referral is the contacts that one peer has named.
type referral struct {
	by       Peer
	contacts []wire.Contact
}

// AddReferrals notes the contacts that a peer names in a reply, and returns them as
// package routing holds them. Their addresses go into the peerstore only before a dial:
// nearly all contacts are connected already, or never asked.
func (out *Outcome) AddReferrals(by Peer, named []wire.Contact) []Contact {
	if len(named) == 0 {
		return nil
	}
	out.mu.Lock()
	out.referrals = append(out.referrals, referral{by, named})
	out.mu.Unlock()
	return out.config.Refs.Contacts(named)
}

// ApplyReferrals enters into the peerstore the addresses of a peer that others have named.
func (out *Outcome) ApplyReferrals(id wire.PeerID) {
	now := time.Now()
	out.mu.Lock()
	defer out.mu.Unlock()
	for _, r := range out.referrals {
		for _, c := range r.contacts {
			if c.ID == id {
				out.config.Host.AddReferral(r.by.RemoteAddr().Addr(), c, now)
			}
		}
	}
}

// Named yields the peers that others have named, some of them several times.
func (out *Outcome) Named() iter.Seq[wire.PeerID] {
	return func(yield func(wire.PeerID) bool) {
		for _, r := range out.referrals {
			for _, c := range r.contacts {
				if !yield(c.ID) {
					return
				}
			}
		}
	}
}

// Refuse notes that a peer answered and did not store the record.
func (out *Outcome) Refuse(id wire.PeerID, code wire.Code) {
	out.setCause(id, out.config.Host.Refused(id, code))
}

func (out *Outcome) setCause(id wire.PeerID, cause error) {
	out.mu.Lock()
	defer out.mu.Unlock()
	out.causes[id] = cause
}

// Closest yields the k nodes nearest to the target that have answered (in a put, that
// have stored or refused), the nearest first; this node among them if it is a server.
func (out *Outcome) Closest() iter.Seq[Contact] { return out.lookup.Closest() }

// Without returns the nearest node that answered without a record; false if all had one.
func (out *Outcome) Without() (wire.PeerID, bool) {
	c, ok := out.lookup.Without()
	if !ok {
		return wire.PeerID{}, false
	}
	return c.Addr.ID, true
}

// Answered returns how many peers have answered.
func (out *Outcome) Answered() int { return len(out.answered) }

// Causes returns, for each peer that failed or refused, why. The map is the caller's once
// the lookup has ended.
func (out *Outcome) Causes() map[wire.PeerID]error { return out.causes }
