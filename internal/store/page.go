package store

import (
	"bytes"
	"slices"
	"time"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// Page implements [Store].
func (m *Memory) Page(now time.Time, kind wire.Kind, key routing.Key, after wire.PeerID, n, size int) (page []*wire.Signed, more bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	entries, more := m.x.page(m.x.tick(now), slot{key, kind}, after, n, size)
	for _, e := range entries {
		page = append(page, e.record)
	}
	return page, more
}

// Page implements [Store]. It reads only the records of the page from the file.
func (d *Disk) Page(now time.Time, kind wire.Kind, key routing.Key, after wire.PeerID, n, size int) (page []*wire.Signed, more bool) {
	page = d.read(func() (refs []ref) {
		var entries []*entry
		entries, more = d.x.page(d.x.tick(now), slot{key, kind}, after, n, size)
		for _, e := range entries {
			refs = append(refs, refTo(e))
		}
		return refs
	})
	return page, more
}

// page returns the entries of one page, see [Store.Page].
func (x *index) page(t int64, s slot, after wire.PeerID, n, size int) (page []*entry, more bool) {
	for e := x.slots[s]; e != nil; e = e.next {
		if e.alive(t) && bytes.Compare(e.publisher[:], after[:]) > 0 {
			page = append(page, e)
		}
	}
	slices.SortFunc(page, func(a, b *entry) int { return bytes.Compare(a.publisher[:], b.publisher[:]) })
	for i, e := range page {
		if size -= int(e.wire); i == n || size < 0 && i > 0 {
			return page[:i], true
		}
	}
	return page, false
}
