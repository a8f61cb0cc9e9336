package publish

import (
	"fmt"
	"maps"
	"slices"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
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

// appendLabel encodes a label: kind 1 | key 32 | label.
func appendLabel(at Key, label string) []byte {
	return append(append([]byte{byte(at.Kind)}, at.Key[:]...), label...)
}

func parseLabel(data []byte) (at Key, label string, ok bool) {
	if n := len(data) - 1 - len(at.Key); n <= 0 || n > MaxLabel {
		return Key{}, "", false
	}
	return Key{wire.Kind(data[0]), routing.Key(data[1:33])}, string(data[33:]), true
}

// loadLabel takes in the label of a publication that is loaded already.
func (p *Publications) loadLabel(data []byte) bool {
	at, label, ok := parseLabel(data)
	if !ok || !p.Has(at) {
		return false
	}
	p.labels.by[at] = label
	return true
}
