package node

import (
	"fmt"
	"sync"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// MaxLabel is the length of the longest label, in bytes.
const MaxLabel = 1024

// labels are what the user calls the keys of publications. They are kept on disk beside
// the publications and are never sent. Goroutines may share them.
type labels struct {
	disk stateStore // nil: they end with the process; constant once the node runs

	mu sync.Mutex // held while a label is written, so that the last one stands
	by map[publicationKey]string
}

// SetLabel names one of the records that this node keeps alive, for its user: Published
// tells the label, no other node hears of it. It lasts until Unpublish. If the node keeps
// no such record alive, the error is ErrNotFound.
func (n *Node) SetLabel(kind wire.Kind, key routing.Key, label string) error {
	at := publicationKey{kind, key}
	if len(label) > MaxLabel {
		return fmt.Errorf("label of %s: %d bytes, want at most %d", key, len(label), MaxLabel)
	}
	if !n.publications.has(at) {
		return fmt.Errorf("label of %s: %w", key, ErrNotFound)
	}
	return n.labels.set(at, label, n.publications.has)
}

// set sets a label, "" removes it. Where there are too many, those go of which published
// says that nothing is published there.
func (ls *labels) set(at publicationKey, label string, published func(publicationKey) bool) error {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.by[at] == label {
		return nil
	}
	var data []byte
	if label == "" {
		delete(ls.by, at)
	} else {
		if len(ls.by) >= maxPublished {
			ls.prune(published)
		}
		ls.by[at] = label
		data = append(append([]byte{byte(at.kind)}, at.key[:]...), label...)
	}
	if ls.disk == nil {
		return nil
	}
	return ls.disk.savePublication(at.String(), data)
}

// prune removes the labels of what is not published any more, with mu held.
func (ls *labels) prune(published func(publicationKey) bool) {
	for at := range ls.by {
		if !published(at) {
			delete(ls.by, at)
			if ls.disk != nil {
				ls.disk.savePublication(at.String(), nil)
			}
		}
	}
}

// of returns the label there, "" if there is none.
func (ls *labels) of(at publicationKey) string {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return ls.by[at]
}

// parseLabel reads what set wrote.
func parseLabel(data []byte) (at publicationKey, label string, ok bool) {
	if n := len(data) - 1 - len(at.key); n <= 0 || n > MaxLabel {
		return publicationKey{}, "", false
	}
	return publicationKey{wire.Kind(data[0]), routing.Key(data[1:33])}, string(data[33:]), true
}

// load takes in what another process left on the disk. It is called before the node
// starts, after the publications are loaded.
func (ls *labels) load(disk stateStore, published func(publicationKey) bool) {
	for name, data := range disk.savedPublications() {
		at, label, ok := parseLabel(data)
		if !ok || !published(at) {
			disk.savePublication(name, nil)
			continue
		}
		ls.by[at] = label
	}
	ls.disk = disk
}

// has reports whether anything is kept alive there, or about to be.
func (ps *publications) has(at publicationKey) bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return ps.by[at] != nil
}
