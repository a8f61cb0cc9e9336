package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kadquic/kadquic/internal/publish"
	"github.com/kadquic/kadquic/internal/store"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// MaxLabel is the length of the longest label, in bytes.
const MaxLabel = publish.MaxLabel

// A Publication is a record that this node keeps alive: it signs and publishes it again when
// 5/6 of its life have passed.
type Publication struct {
	Kind   wire.Kind
	Key    routing.Key
	Name   []byte // of owned and open records; may be empty
	Label  string // set by SetLabel; may be empty
	Size   int    // of the value, in bytes
	Seq    uint64 // of the latest version; a renewal does not change it
	Expiry time.Time

	Renewed time.Time // when it was last stored anywhere; zero: not since the node was started
	Next    time.Time // when it is due to be published again
	Stored  Stored    // where it went last
	Err     error     // why it could not be renewed; nil when it was
}

func (n *Node) newPublications() *publish.Publications {
	return publish.New(publish.Config{Self: n.id, Life: n.config.RecordTTL, Logger: n.config.Logger,
		Sign: func(r wire.Record) (*wire.Signed, error) {
			if r.Kind == wire.KindProvider {
				var err error
				if r.Value, err = n.providerValue(); err != nil {
					return nil, err
				}
			}
			return wire.Sign(r, n.config.Key)
		}})
}

// Published returns the records that this node keeps alive, in order of kind and key.
func (n *Node) Published() []Publication {
	list := n.publications.List()
	all := make([]Publication, len(list))
	for i, p := range list {
		all[i] = Publication{
			Kind: p.Kind, Key: p.Key.Key, Name: p.Name, Label: p.Label, Size: p.Size, Seq: p.Seq, Expiry: p.Expiry,
			Renewed: p.Renewed, Next: p.Next, Err: p.Err,
		}
		if p.Of > 0 || p.Count > 0 {
			all[i].Stored = Stored{p.Key.Key, p.Count, p.Of}
		}
	}
	return all
}

// SetLabel gives a record that this node keeps alive a label, which Published returns and no
// other node learns. The label lasts until Unpublish. If the node keeps no such record alive,
// the error is ErrNotFound.
func (n *Node) SetLabel(kind wire.Kind, key routing.Key, label string) error {
	if err := n.publications.SetLabel(publish.Key{Kind: kind, Key: key}, label); err != nil {
		return fmt.Errorf("label of %s: %w", key, notPublished(err))
	}
	return nil
}

func notPublished(err error) error {
	if errors.Is(err, publish.ErrNotPublished) {
		return ErrNotFound
	}
	return err
}

// Unpublish ends what a put began: the record is not renewed any more and is replaced by a
// version that ends in a minute; except content, which other nodes may have published too.
// For as long as the record may live, this node looks every hour for peers that still hold
// it, of 1024 records at most. An error says that some peers may hold it until it ends; it is
// not renewed in any case. If the node keeps no such record alive, the error is ErrNotFound.
// With a context that has ended already Unpublish does nothing.
func (n *Node) Unpublish(ctx context.Context, kind wire.Kind, key routing.Key) (Stored, error) {
	if err := n.ready(ctx); err != nil {
		return Stored{}, err
	}
	tombstone, err := n.publications.Unpublish(publish.Key{Kind: kind, Key: key})
	if errors.Is(err, publish.ErrNotPublished) {
		return Stored{}, fmt.Errorf("unpublish %s: %w", key, ErrNotFound)
	}
	stored := Stored{Key: key}
	if tombstone != nil {
		var perr error
		stored, perr = n.publish(ctx, tombstone, 0)
		err = errors.Join(err, perr)
	}
	if err != nil {
		return stored, fmt.Errorf("unpublish: %w", err)
	}
	return stored, nil
}

// putOwn puts a record of this node's own key, by put, and keeps it alive unless once.
func (n *Node) putOwn(r *wire.Signed, once bool, put func() (Stored, error)) (Stored, error) {
	p, err := n.publications.Begin(r, once)
	if err != nil {
		return Stored{Key: r.Record.Key}, fmt.Errorf("put %s: %w", r.Record.Key, err)
	}
	s, err := put()
	if serr := n.publications.End(p, outcome(s, err)); serr != nil {
		err = errors.Join(err, fmt.Errorf("put %s: %w", r.Record.Key, serr))
	}
	return s, err
}

func outcome(s Stored, err error) publish.Outcome {
	return publish.Outcome{Count: s.Count, Of: s.Of, Err: err, Isolated: errors.Is(err, ErrUnreachable)}
}

// publishNetwork is a node as the renewer of its publications sees it.
type publishNetwork struct{ *Node }

func (n publishNetwork) State() (isolated bool, offline error) {
	isolated = n.joiner.IsIsolated()
	// An isolated server without bootstrap peers is a complete network.
	if isolated && (n.mode() == wire.ModeClient || n.joiner.HasTargets()) {
		return true, fmt.Errorf("%w: no peer is known", ErrUnreachable)
	}
	return isolated, nil
}

func (n publishNetwork) Replicate(ctx context.Context, records []*wire.Signed) (acks []int, of int) {
	acks = n.replica.Replicate(ctx, records)
	servers := n.routes.Len()
	if n.mode() == wire.ModeServer {
		servers++
	}
	return acks, min(n.config.K, servers)
}

func (n publishNetwork) Put(ctx context.Context, r *wire.Signed) (o publish.Outcome, stale bool) {
	s, stale, err := n.storeWhileLookingUp(ctx, r, 0)
	return outcome(s, err), stale
}

func (n publishNetwork) Versions(ctx context.Context, at publish.Key) []publish.Version {
	var all []publish.Version
	for _, r := range n.search.Versions(ctx, at.Kind, at.Key) {
		all = append(all, publish.Version{From: r.From, Record: r.Record})
	}
	return all
}

func (n publishNetwork) StoreAt(ctx context.Context, id wire.PeerID, r *wire.Signed) error {
	return n.search.StoreAt(ctx, id, r, nil)
}

// Merged says what Merge brought.
type Merged struct {
	Records      int // that are held now and were not before
	Publications int // that are kept alive now
	Peers        int // known more than before
	Refused      int // records and publications that are damaged, of another publisher, older than the current version, have ended, or find no room
	Retracted    int // publications of this node that ended, because they were unpublished when the backup was made
}

// mergeBatch is how many records enter the store at once.
const mergeBatch = 256

// Merge adds the contents of another database, the file of a backup: records, publications and
// retractions of the node, and peers. No other process may have the file open. The newer of two
// versions of a publication wins, or its retraction if that is newer. Publications must be of
// this node's own identity. Merge may change the file: give it a copy.
func (n *Node) Merge(ctx context.Context, path string) (Merged, error) {
	if err := n.ready(ctx); err != nil {
		return Merged{}, err
	}
	from, err := store.Open(path, store.Options{Self: n.key, Limits: n.config.storeLimits(), Now: time.Now()})
	if err != nil {
		return Merged{}, fmt.Errorf("merge: %w", err)
	}
	defer from.Close()
	r := from.Report()
	m := Merged{Refused: r.Damaged + r.DamagedStates}
	count := func(p publish.Merged) {
		m.Publications += p.Publications
		m.Refused += p.Refused
		m.Retracted += p.Retracted
	}
	count(n.publications.MergeRetractions(from))
	if err := n.mergeRecords(ctx, from, &m); err != nil {
		return m, fmt.Errorf("merge: %w", err)
	}
	count(n.publications.MergePublications(from))
	before := n.peers.Len()
	if peers, err := from.Saved(statePeers); err != nil {
		m.Refused++
	} else if peers != nil {
		if err := n.peers.Load(bytes.NewReader(peers), time.Now()); err != nil {
			m.Refused++
		}
	}
	m.Peers = n.peers.Len() - before
	return m, nil
}

func (n *Node) mergeRecords(ctx context.Context, from store.Store, m *Merged) error {
	var batch []store.Item
	flush := func() {
		for _, err := range n.values.Put(time.Now(), batch) {
			if err != nil {
				m.Refused++
			} else {
				m.Records++
			}
		}
		batch = batch[:0]
	}
	for h := range from.All(time.Now()) {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		now := time.Now()
		r := from.Load(now, h)
		if r != nil && n.values.Has(now, r) {
			continue
		}
		if r == nil || r.Verify(now) != nil || r.Record.Publisher == n.id && n.publications.IsRetracted(publish.KeyOf(r), r.Record.Seq) {
			m.Refused++
			continue
		}
		// The backup knows which copies are cached; the store refuses what is older or
		// finds no room.
		batch = append(batch, store.Item{Record: r, Cached: h.Cached, Life: h.Until.Sub(now), NoSuppress: true})
		if len(batch) == mergeBatch {
			flush()
		}
	}
	flush()
	return nil
}
