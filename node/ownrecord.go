package node

import (
	"slices"
	"sync"
	"time"

	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/wire"
)

// An ownRecord is our word on where we are, signed. The zero value has none;
// goroutines may share it.
type ownRecord struct {
	mu      sync.Mutex
	record  *wire.Signed
	addrs   []wire.Addr   // what it says
	by      []wire.PeerID // the relays that it names
	checked time.Time     // when it was last compared with the current state
}

// recheck makes the next use compare the record with the current state.
func (o *ownRecord) recheck() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.checked = time.Time{}
}

// drop makes the next use sign the record again.
func (o *ownRecord) drop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.record = nil
}

// ownRecord returns the node's signed peer record. It signs it again when the addresses have
// changed or half of its life is over.
func (n *Node) ownRecord() *wire.Signed {
	o := &n.record
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	if o.record != nil && now.Sub(o.checked) < reach.RecheckAfter {
		return o.record
	}
	o.checked = now
	addrs, by := n.self.Addrs(now), n.relays.Relays()
	if o.record != nil && o.record.Record.Expiry.Sub(now) > wire.MaxTTL/2 && slices.Equal(addrs, o.addrs) && slices.Equal(by, o.by) {
		return o.record
	}
	value, err := wire.PeerInfo{Mode: n.mode(), Addrs: addrs, Relays: by}.Value()
	if err != nil {
		n.config.Logger.Error("peer record", "err", err)
		return o.record
	}
	r, err := wire.Sign(wire.Record{
		Kind:   wire.KindPeer,
		Key:    n.key,
		Seq:    uint64(now.UnixMilli()),
		Expiry: now.Add(wire.MaxTTL),
		Value:  value,
	}, n.config.Key)
	if err != nil {
		n.config.Logger.Error("peer record", "err", err)
		return o.record
	}
	o.record, o.addrs, o.by = r, addrs, by
	return r
}
