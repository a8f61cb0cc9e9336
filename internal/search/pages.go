package search

import (
	"context"

	"github.com/kadquic/kadquic/internal/lookup"
	"github.com/kadquic/kadquic/wire"
)

// A key may have records of more publishers than one reply has room for. Peers send them
// in pages, in the order of the publishers' keys. Unlike a number of records to pass over,
// a publisher means the same place when records have come or gone meanwhile.

// MaxPages is how many pages of records one peer is asked for. All that a node keeps
// under one key (1,024 records, 2 MiB) fits into 75: a page but the last has 32 records
// or 31 KiB, and each record counts 768 bytes more than its own.
const MaxPages = 96

// page asks a peer for a page, which begins behind the publisher after, and for contacts.
func (c *collection) page(ctx context.Context, id, after wire.PeerID, contacts int) (lookup.Peer, page, error) {
	var request wire.Message
	if c.asksProviders() {
		request = wire.GetProviders{Key: c.key, Count: contacts, After: after}
	} else {
		request = wire.FindValue{Key: c.key, Kind: c.kind, Count: contacts, All: c.paged, After: after}
	}
	p, m, err := c.search.host.Request(ctx, id, request)
	if err != nil {
		return nil, page{}, err
	}
	switch m := m.(type) {
	case wire.Value:
		if !c.asksProviders() {
			return p, page{m.Records, m.More, m.Contacts}, nil
		}
	case wire.Providers:
		if c.asksProviders() {
			return p, page{m.Records, m.More, m.Contacts}, nil
		}
	}
	return nil, page{}, lookup.Unexpected(id, m)
}

// morePages asks a peer for the pages behind the publisher last.
func (c *collection) morePages(ctx context.Context, id wire.PeerID, last wire.PeerID) {
	for range MaxPages - 1 {
		p, page, err := c.page(ctx, id, last, 0)
		if err != nil {
			return
		}
		more := false
		if _, last, more = c.addPage(page, last, id, p); !more {
			return
		}
	}
	c.search.Logger.Info("peer sends records without end", "peer", id, "key", c.key)
}
