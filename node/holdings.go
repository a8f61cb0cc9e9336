package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/kadquic/kadquic/internal/store"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// A Holding is a record that this node holds, for its publisher and for all.
type Holding struct {
	Kind      wire.Kind
	Key       routing.Key
	Shared    int // bits that Key shares with the node's own: the nearer the more
	Publisher wire.PeerID
	Seq       uint64
	Expiry    time.Time // as signed
	Size      int       // in bytes, with its signature

	Received time.Time // last
	Until    time.Time // it is dropped then, if not before for want of room
	Cached   bool      // a copy beyond the k nearest, which goes first
}

// Records yields the records that this node holds, nearest to its own key first.
// It is a snapshot, taken when the iteration begins.
func (n *Node) Records() iter.Seq[Holding] {
	return func(yield func(Holding) bool) {
		all := slices.Collect(n.values.All(time.Now()))
		slices.SortFunc(all, func(a, b store.Held) int {
			if c := n.key.CompareDistance(a.Key, b.Key); c != 0 {
				return c
			}
			return bytes.Compare(a.Print[:], b.Print[:])
		})
		for _, h := range all {
			ok := yield(Holding{
				Kind: h.Kind, Key: h.Key, Shared: n.key.CommonPrefixLen(h.Key), Publisher: h.Publisher,
				Seq: h.Seq, Expiry: h.Expiry, Size: h.Size, Received: h.Received, Until: h.Until, Cached: h.Cached,
			})
			if !ok {
				return
			}
		}
	}
}

// Durability says which of the nodes nearest to a key hold records of one kind
// under it now.
type Durability struct {
	Kind    wire.Kind
	Key     routing.Key
	Holders []Holder // the k nearest, and those among them that do not answer; nearest first
}

// Count is how many hold it, and are not behind.
func (d Durability) Count() (count int) {
	for _, h := range d.Holders {
		if len(h.Versions) > 0 && !h.Behind {
			count++
		}
	}
	return count
}

// A Holder is one of the nodes that are to hold a record. It does if it has a
// version.
type Holder struct {
	Contact
	Versions []Version     // one of each publisher, in order of publishers
	Behind   bool          // another has a newer one
	RTT      time.Duration // to ask it; zero for this node itself
	Err      error         // why it has none: nil if it only has not
}

// A Version is one publisher's record as a holder has it.
type Version struct {
	Publisher wire.PeerID
	Seq       uint64
	Expiry    time.Time
}

// Durability asks each of the k nodes nearest to key, this node if it is one,
// for the records of one kind under it. It changes nothing. When ctx ends, what
// is known by then is returned with its error.
func (n *Node) Durability(ctx context.Context, kind wire.Kind, key routing.Key) (Durability, error) {
	d := Durability{Kind: kind, Key: key}
	if err := (GetOptions{Kind: kind}).check(); err != nil {
		return d, fmt.Errorf("durability of %s: %w", key, err)
	}
	// Patient, because the peers that do not answer are reported, too.
	out, err := n.lookups.PatientNodes(ctx, "durability", key)
	if err != nil {
		return d, err
	}
	var last routing.Key
	for c := range out.Closest() {
		d.Holders, last = append(d.Holders, Holder{Contact: n.contact(c.Addr.ID)}), c.Key
	}
	whole := len(d.Holders) < n.config.K
	for id, cause := range out.Causes() {
		if whole || key.CompareDistance(id.Key(), last) < 0 {
			d.Holders = append(d.Holders, Holder{Contact: n.contact(id), Err: cause})
		}
	}
	slices.SortFunc(d.Holders, func(a, b Holder) int { return key.CompareDistance(a.ID.Key(), b.ID.Key()) })

	f := n.newFinding(key, GetOptions{Kind: kind}, nil)
	var wg sync.WaitGroup
	for i := range d.Holders {
		if h := &d.Holders[i]; h.Err == nil {
			wg.Go(func() { h.ask(ctx, f) })
		}
	}
	wg.Wait()
	for i := range d.Holders {
		h := &d.Holders[i]
		h.Behind = slices.ContainsFunc(h.Versions, func(v Version) bool {
			best, _ := f.bestOf(v.Publisher)
			r := best.record.Record
			return r.Seq > v.Seq || r.Seq == v.Seq && r.Expiry.After(v.Expiry)
		})
	}
	if err := ctx.Err(); err != nil {
		return d, fmt.Errorf("durability of %s: %w", key, err)
	}
	return d, nil
}

// ask finds out what one holder has.
func (h *Holder) ask(ctx context.Context, f *valueSearch) {
	n := f.node
	var records []*wire.Signed
	more := false
	if h.ID == n.id {
		records = n.values.Get(time.Now(), f.kind, f.key, math.MaxInt)
	} else {
		start := time.Now()
		_, m, err := n.request(ctx, h.ID, wire.FindValue{Key: f.key, Kind: f.kind, All: true})
		if err != nil {
			h.Err = err
			return
		}
		h.RTT = time.Since(start)
		v, ok := m.(wire.Value)
		if !ok {
			h.Err = unexpected(h.ID, m)
			return
		}
		records, more = v.Records, v.More
	}
	if !f.addReply(records, h.ID) && len(records) > 0 {
		h.Err = errors.New("what it has is not valid")
	}
	if last, ok := pageEnd(records, wire.PeerID{}); more && ok && h.Err == nil {
		f.morePages(ctx, h.ID, last)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, held := range f.all {
		if r := held.record.Record; held.from == h.ID {
			h.Versions = append(h.Versions, Version{r.Publisher, r.Seq, r.Expiry})
		}
	}
	slices.SortFunc(h.Versions, func(a, b Version) int { return bytes.Compare(a.Publisher[:], b.Publisher[:]) })
}
