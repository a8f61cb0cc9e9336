package search

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/kadquic/kadquic/internal/lookup"
	"github.com/kadquic/kadquic/internal/store"
	"github.com/kadquic/kadquic/wire"
)

// storeBeta is how many of the nearest must have answered before a put begins to store.
const storeBeta = 3

// Stored says where a put has stored its record.
type Stored struct {
	Count    int  // nodes that acknowledged, this one among them if it is one of the nearest
	Of       int  // the smaller of k and the servers that answered
	Answered int  // peers that answered any request
	Alone    bool // peers are known, and none of them has answered

	// Causes says of each peer that did not store the record, why. It is nil if the put
	// has not begun.
	Causes map[wire.PeerID]error
}

// IsStale reports whether any peer refused the record because it has a newer one.
func (s Stored) IsStale() bool { return s.refused(wire.CodeStale) }

// refused reports whether any peer refused the record for one of these reasons.
func (s Stored) refused(codes ...wire.Code) bool {
	for _, cause := range s.Causes {
		if slices.ContainsFunc(codes, func(code wire.Code) bool { return errors.Is(cause, code) }) {
			return true
		}
	}
	return false
}

// Put stores a record on the k nodes nearest to its key. It stores while it looks up, so
// that a put takes few more round trips than a lookup. It returns when each of the k nearest
// has answered. Once the quorum has stored the record, it waits only a little longer for the
// rest. The error comes from ctx or the host. The caller decides whether the record is
// stored on enough peers.
func (s *Searcher) Put(ctx context.Context, r *wire.Signed, quorum int) (Stored, error) {
	key := r.Record.Key
	records := []*wire.Signed{r}
	out, err := s.Lookups.Run(ctx, lookup.Lookup{Kind: "put", Target: key,
		Options: lookup.Options{Store: storeBeta, Quorum: quorum},
		Ask: func(asking context.Context, q lookup.Query, out *lookup.Outcome) (lookup.Reply, error) {
			if !q.Store {
				return s.Lookups.AskForNodes(asking, q, key, out)
			}
			id := q.Addr.ID
			p, m, err := s.host.Request(asking, id, wire.Store{Records: records, Count: s.k, Bound: q.Bound})
			if err != nil {
				if asking.Err() != nil && ctx.Err() == nil {
					s.storeLate(id, r)
				}
				return lookup.Reply{}, err
			}
			stored, ok := m.(wire.Stored)
			if !ok || len(stored.Results) != 1 {
				return lookup.Reply{}, lookup.Unexpected(id, m)
			}
			// A peer that refuses is still one of the nearest, where readers look. Another peer
			// beyond the k nearest would be counted in its place, and never asked.
			if code := stored.Results[0]; code != wire.CodeOK {
				out.Refuse(id, code)
			}
			return lookup.Reply{Closer: out.AddReferrals(p, stored.Contacts)}, nil
		}})
	if out == nil {
		return Stored{}, err
	}
	causes := out.Causes()
	st := Stored{Answered: out.Answered(), Alone: out.Answered() == 0 && len(causes) > 0, Causes: causes}
	isHolder := false
	for c := range out.Closest() {
		switch {
		case causes[c.Addr.ID] != nil: // refused
		case c.Addr.ID == s.self:
			isHolder = true
		default:
			st.Count++
		}
	}
	// A record that has ended by the clocks of the peers has a publisher whose clock is wrong,
	// and only this node would have it.
	if isHolder && (st.Count > 0 || !st.refused(wire.CodeAhead, wire.CodeExpired)) {
		if err := s.storeLocal(r, nil); err != nil {
			causes[s.self] = err
		} else {
			st.Count++
		}
	}
	servers := st.Answered
	if s.host.IsServer() {
		servers++
	}
	st.Of = min(s.k, servers)
	return st, err
}

// storeLate stores a record on a peer whose answer a put did not await. If the peer is
// connected, its STORE has been sent already, and QUIC retransmits it if need be. Otherwise
// the peer is still being dialled.
func (s *Searcher) storeLate(id wire.PeerID, r *wire.Signed) {
	if s.host.IsConnected(id) {
		return
	}
	s.inBackground(s.late, func(ctx context.Context) {
		s.host.Request(ctx, id, wire.Store{Records: []*wire.Signed{r}})
	})
}

// storeLocal stores a record of this node's user here; with ifSeq only in the place of that
// version.
func (s *Searcher) storeLocal(r *wire.Signed, ifSeq *uint64) error {
	return s.Store().Put(time.Now(), []store.Item{{Record: r, IfSeq: ifSeq}})[0]
}

// StoreAt stores a record on one node, which may be this one; with ifSeq only in the place
// of the version with that sequence number.
func (s *Searcher) StoreAt(ctx context.Context, id wire.PeerID, r *wire.Signed, ifSeq *uint64) error {
	if id == s.self {
		return s.storeLocal(r, ifSeq)
	}
	_, m, err := s.host.Request(ctx, id, wire.Store{Records: []*wire.Signed{r}, IfSeq: ifSeq})
	if err != nil {
		return err
	}
	stored, ok := m.(wire.Stored)
	if !ok || len(stored.Results) != 1 {
		return lookup.Unexpected(id, m)
	}
	if code := stored.Results[0]; code != wire.CodeOK {
		return s.host.Refused(id, code)
	}
	return nil
}
