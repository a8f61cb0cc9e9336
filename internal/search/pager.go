package search

import (
	"context"
	"sync"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// A page is some of the records that a peer holds under a key.
type page struct {
	records  []*wire.Signed
	more     bool
	contacts []wire.Contact
}

// maxPatience bounds, in RPC timeouts, how long pages are awaited after the end of a
// lookup.
const maxPatience = 2

// A pager runs the requests for further pages beside a lookup, which does not wait for
// them. Goroutines may share it.
type pager struct {
	patience time.Duration
	pages    sync.WaitGroup // the peers that have more pages

	mu   sync.Mutex
	late *time.Timer // stops the requests; nil while the lookup runs
}

// found notes that a page had a record that was not known before.
func (p *pager) found() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.late != nil {
		p.late.Reset(p.patience)
	}
}

// wait waits for the pages after the lookup. It calls stop when they have had nothing new
// for the time of one request.
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
