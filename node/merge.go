package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kadquic/kadquic/internal/store"
	"github.com/kadquic/kadquic/wire"
)

// Merged says what Merge brought.
type Merged struct {
	Records      int // that are held now and were not before
	Publications int // that are kept alive now
	Peers        int // known more than before
	Refused      int // records and publications that are damaged, not ours, older than what stands, have ended, or find no room
	Retracted    int // publications of this node that ended, because they were unpublished when the backup was made
}

// mergeBatch is how many records enter the store at once.
const mergeBatch = 256

// Merge takes in what another database holds, the file of a backup, which no
// other process may have open: records, what the node published and unpublished, and
// peers. Of each publication what is newer stands, here or there, be it a version or its
// end. Publications must be of this node's own identity.
// The file itself may be changed: give it a copy.
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
	n.mergeRetractions(from, &m) // before what they may concern
	if err := n.mergeRecords(ctx, from, &m); err != nil {
		return m, fmt.Errorf("merge: %w", err)
	}
	for name, data := range (publicationsOn{from, publishedPrefix}).savedPublications() {
		if err := n.mergePublication(data); err != nil {
			m.Refused++
			n.config.Logger.Info("publication is not taken in", "name", name, "err", err)
			continue
		}
		m.Publications++
	}
	for _, data := range (publicationsOn{from, labelPrefix}).savedPublications() {
		if at, label, ok := parseLabel(data); ok && n.publications.has(at) && n.labels.of(at) == "" {
			if err := n.labels.set(at, label, n.publications.has); err != nil {
				n.config.Logger.Info("cannot keep a label", "key", at.key, "err", err)
			}
		}
	}
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
		if r == nil || r.Verify(now) != nil || r.Record.Publisher == n.id && n.retracted(publicationKeyOf(r), r.Record.Seq) {
			m.Refused++
			continue
		}
		// Whether it is a copy that was only cached is known there; that it is older
		// or has no room shows here.
		batch = append(batch, store.Item{Record: r, Cached: h.Cached, Life: h.Until.Sub(now), NoSuppress: true})
		if len(batch) == mergeBatch {
			flush()
		}
	}
	flush()
	return nil
}

// mergeRetractions takes in what was unpublished when the backup was made.
func (n *Node) mergeRetractions(from *store.Disk, m *Merged) {
	gone := make(map[publicationKey]*wire.Signed)
	seqs := make(map[publicationKey]uint64)
	for _, data := range (publicationsOn{from, withdrawnPrefix}).savedPublications() {
		r, err := wire.ParseSigned(data)
		if err != nil || r.Record.Publisher != n.id || r.Verify(r.Record.Expiry.Add(-time.Millisecond)) != nil {
			m.Refused++
			continue
		}
		gone[publicationKeyOf(r)], seqs[publicationKeyOf(r)] = r, r.Record.Seq
	}
	for _, data := range (publicationsOn{from, retractedPrefix}).savedPublications() {
		at, seq, err := parseRetraction(data)
		if err != nil {
			m.Refused++
			continue
		}
		seqs[at] = max(seqs[at], seq)
	}
	for at, seq := range seqs {
		ended, err := n.mergeRetraction(at, seq, gone[at])
		if err != nil {
			n.config.Logger.Warn("a retraction of the backup is not noted on disk", "kind", at.kind, "key", at.key, "err", err)
		}
		if ended {
			m.Retracted++
		}
	}
}

func (n *Node) mergePublication(data []byte) error {
	r, err := wire.ParseSigned(data)
	if err != nil {
		return err
	}
	if r.Record.Publisher != n.id {
		return fmt.Errorf("published by %s", r.Record.Publisher)
	}
	// It may have ended while nobody was there to renew it, but what is signed
	// anew must have been signed by us before.
	if err := r.Verify(r.Record.Expiry.Add(-time.Millisecond)); err != nil {
		return err
	}
	at := publicationKeyOf(r)
	if n.retracted(at, r.Record.Seq) {
		return errRetracted
	}
	if err := n.retractions.end(at); err != nil {
		return err
	}
	above := n.withdrawals.last(at)
	return errors.Join(n.withdrawals.end(n.withdrawals.of(at)), n.publications.merge(r, above))
}
