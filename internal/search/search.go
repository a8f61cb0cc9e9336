// Package search finds the records under a key, and stores records on the k nodes nearest
// to their keys: get, find providers, put, compare-and-set. Values and providers are found
// by one algorithm, a lookup in which each peer replies with its records and with
// contacts (Kademlia §2.3, FIND_VALUE).
package search

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/kadquic/kadquic/internal/background"
	"github.com/kadquic/kadquic/internal/lookup"
	"github.com/kadquic/kadquic/internal/store"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// A Config says how a Searcher works. All fields are required.
type Config struct {
	Lookups    *lookup.Runner
	Background *background.Group
	Validators *Validators
	Logger     *slog.Logger

	// Store returns what this node holds itself. It is first called after the node has
	// started.
	Store func() store.Store
	// Closer counts the contacts of the routing table that are nearer to a key than this
	// node.
	Closer func(key routing.Key) int
	// RPCTimeout bounds one request.
	RPCTimeout time.Duration
	// Busy is the error, by errors.Is, of a peer that has no room for a request or a
	// connection at present.
	Busy error
}

const (
	maxRepairs = 16 // read repairs at the same time; further ones are left out
	maxLate    = 64 // STOREs that outlive their put, likewise
)

// A Searcher finds and stores records for one node. Make it with New. Goroutines may share it.
type Searcher struct {
	Config
	host    lookup.Host
	self    wire.PeerID
	k       int
	repairs *background.Slots
	late    *background.Slots
}

// New makes a Searcher. It starts nothing.
func New(c Config) *Searcher {
	return &Searcher{
		Config:  c,
		host:    c.Lookups.Host,
		self:    c.Lookups.Self,
		k:       c.Lookups.K,
		repairs: c.Background.Slots(maxRepairs),
		late:    c.Background.Slots(maxLate),
	}
}

// deadSlack is how many more nodes than k are taken for holders of a key, as a part of k:
// 1/deadSlack. So many contacts that seem to be nearer to the key may have just died.
const deadSlack = 4

// Holders returns how many of the nodes nearest to a key are taken for its holders where
// the k nearest alive are not known for certain.
func Holders(k int) int { return k + k/deadSlack }

// Verify returns an error unless a record that a peer has sent is genuine, alive, and
// allowed by the rules of its namespace. The signature of a record that this node holds
// has been checked already.
func (s *Searcher) Verify(r *wire.Signed, now time.Time) error {
	if !s.Store().Has(now, r) {
		if err := r.Verify(now); err != nil {
			return err
		}
	}
	return s.Validators.Validate(r)
}

// VerifyCode tells the sender of a record what Verify found wrong with it.
func VerifyCode(err error) wire.Code {
	if errors.Is(err, ErrOverdue) {
		return wire.CodeBusy
	}
	return wire.CodeOf(err)
}

// inBackground runs f while the node runs, if a slot is free.
func (s *Searcher) inBackground(slots *background.Slots, f func(context.Context)) {
	slots.TryGo(func() {
		ctx, cancel := context.WithTimeout(s.Background.Context(), 2*s.RPCTimeout)
		defer cancel()
		f(ctx)
	})
}
