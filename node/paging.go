package node

import (
	"bytes"
	"slices"

	"github.com/kadquic/kadquic/wire"
)

// Under one key may stand the records of more publishers than go into one reply.
// They come in pages, in the order of the publishers' keys, which, unlike a number
// of records to pass over, means the same when some have come or gone meanwhile.
const (
	// maxPages is how many pages of records one peer is asked for: some eight
	// times what a node keeps under one key.
	maxPages = 16
	// pageBytes is the room for records in one page; contacts take a third of a
	// frame at most.
	pageBytes = 40 << 10
	// maxPaged is how many records of one key are looked at to make a page.
	maxPaged = 1 << 10
)

// pageOf returns what stands behind a publisher, in order of publishers, as much
// as a page takes, and whether there is more.
func pageOf(held []*wire.Signed, after wire.PeerID) (page []*wire.Signed, more bool) {
	held = slices.DeleteFunc(held, func(r *wire.Signed) bool {
		return bytes.Compare(r.Record.Publisher[:], after[:]) <= 0
	})
	slices.SortFunc(held, func(a, b *wire.Signed) int {
		return bytes.Compare(a.Record.Publisher[:], b.Record.Publisher[:])
	})
	size := 0
	for i, r := range held {
		if size += r.Size(); i == wire.MaxPage || size > pageBytes {
			return held[:i], true
		}
	}
	return held, false
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
