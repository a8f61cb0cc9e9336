package node

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/kadquic/kadquic/internal/store"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// A Holding describes a record that this node holds for the network.
type Holding struct {
	Kind      wire.Kind
	Key       routing.Key
	Shared    int // length of the prefix that Key shares with the node's key, in bits
	Publisher wire.PeerID
	Seq       uint64
	Expiry    time.Time // as signed
	Size      int       // in bytes, with its signature

	Received time.Time // the last time
	Until    time.Time // when it is dropped, or earlier for lack of room
	Cached   bool      // a copy beyond the k nearest, dropped first
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
	Holders []Holder // the k nearest, and nodes among them that do not answer; nearest first
}

// Count returns how many holders have a version and are not behind.
func (d Durability) Count() (count int) {
	for _, h := range d.Holders {
		if len(h.Versions) > 0 && !h.Behind {
			count++
		}
	}
	return count
}

// A Holder is one of the nodes that should hold a record. It holds one if it has a
// version.
type Holder struct {
	Contact
	Versions []Version     // one of each publisher, in order of publishers
	Behind   bool          // another holder has a newer version
	RTT      time.Duration // of the query; zero for this node itself
	Err      error         // why the query failed; nil if the holder answered
}

// A Version is one publisher's record as a holder has it.
type Version struct {
	Publisher wire.PeerID
	Seq       uint64
	Expiry    time.Time
}

// Durability asks each of the k nodes nearest to key, including this node if it is one,
// for the records of one kind under key. It changes nothing. When ctx ends, Durability
// returns the result so far with the error of ctx.
func (n *Node) Durability(ctx context.Context, kind wire.Kind, key routing.Key) (Durability, error) {
	d := Durability{Kind: kind, Key: key}
	if err := (GetOptions{Kind: kind}).check(); err != nil {
		return d, fmt.Errorf("durability of %s: %w", key, err)
	}
	holders, err := n.search.Durability(ctx, kind, key)
	for _, h := range holders {
		holder := Holder{Contact: n.contact(h.ID), Behind: h.IsBehind, RTT: h.RTT, Err: h.Err}
		for _, r := range h.Records {
			holder.Versions = append(holder.Versions, Version{r.Record.Publisher, r.Record.Seq, r.Record.Expiry})
		}
		d.Holders = append(d.Holders, holder)
	}
	if err != nil {
		return d, fmt.Errorf("durability of %s: %w", key, err)
	}
	return d, nil
}

// HasRecord reports whether this node itself holds a record of that kind under key.
func (n *Node) HasRecord(kind wire.Kind, key routing.Key) bool {
	return len(n.values.Get(time.Now(), kind, key, 1)) > 0
}
