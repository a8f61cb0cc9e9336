package publish

import (
	"fmt"
	"maps"
	"slices"
)

// SetLabel gives a publication a label, which is saved beside it and never sent; "" removes
// the label. The error is ErrNotPublished if there is no such publication.
func (p *Publications) SetLabel(at Key, label string) error {
	if len(label) > MaxLabel {
		return fmt.Errorf("%d bytes, want at most %d", len(label), MaxLabel)
	}
	if !p.Has(at) {
		return ErrNotPublished
	}
	return p.setLabel(at, label)
}

// setLabel sets a label. When there are too many, it removes the labels of keys without a
// publication.
func (p *Publications) setLabel(at Key, label string) error {
	ls := &p.labels
	ls.mu.Lock()
	if ls.by[at] == label {
		ls.mu.Unlock()
		return nil
	}
	var full []Key
	if label == "" {
		delete(ls.by, at)
	} else {
		if len(ls.by) >= maxPublished {
			full = slices.Collect(maps.Keys(ls.by))
		}
		ls.by[at] = label
	}
	ls.mu.Unlock()
	for _, other := range full {
		if other != at && !p.Has(other) {
			ls.remove(other)
		}
	}
	return ls.save(at)
}
