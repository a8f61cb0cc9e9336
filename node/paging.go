package node

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// Under one key may stand the records of more publishers than go into one reply.
// They come in pages, in the order of the publishers' keys, which, unlike a number
// of records to pass over, means the same when some have come or gone meanwhile.
const (
	// maxPages is how many pages of records one peer is asked for. All that a node
	// keeps under one key (1,024 records, 2 MiB) goes into 75: a page but the last has
	// 32 records or 31 KiB, and each record counts 768 bytes more than its own.
	maxPages = 96
	// pageBytes is the room for records in one page; contacts take a third of a
	// frame at most.
	pageBytes = 40 << 10
	// maxPatience bounds, in RPC timeouts, how long pages are waited for after the end of
	// a walk.
	maxPatience = 2
)

// pageOf returns a page of what this node holds, which begins behind the publisher
// after, and whether there is more.
func (n *Node) pageOf(kind wire.Kind, key routing.Key, after wire.PeerID, now time.Time) (page []*wire.Signed, more bool) {
	return n.values.Page(now, kind, key, after, wire.MaxPage, pageBytes)
}

// A pager asks peers for the pages behind their first, beside a walk, which that does
// not hold up. Goroutines may share it.
type pager struct {
	patience time.Duration
	pages    sync.WaitGroup // the peers that have more to tell

	mu   sync.Mutex
	late *time.Timer // stops the pages; nil while the walk goes on
}

// found notes that a page brought a record that was not known before.
func (p *pager) found() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.late != nil {
		p.late.Reset(p.patience)
	}
}

// wait waits for the pages once the walk has ended, as long as they bring something
// new: it calls stop when they have brought nothing for the time of one request.
func (p *pager) wait(stop context.CancelFunc) {
	p.mu.Lock()
	p.late = time.AfterFunc(p.patience, stop)
	p.mu.Unlock()
	last := time.AfterFunc(maxPatience*p.patience, stop)
	p.pages.Wait()
	last.Stop()
	p.mu.Lock()
	p.late.Stop()
	p.mu.Unlock()
}

// pageEnd returns the last publisher of a page that begins behind after. It is
// false if the page does not advance, as none of an honest peer's does.
func pageEnd(page []*wire.Signed, after wire.PeerID) (last wire.PeerID, ok bool) {
	for _, r := range page {
		by := r.Record.Publisher
		if bytes.Compare(by[:], after[:]) <= 0 {
			return wire.PeerID{}, false
		}
		after = by
	}
	return after, len(page) > 0
}
