package publish

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// A StateStore keeps publications beyond the process: a [*store.Disk], or a fake.
// Goroutines share it.
type StateStore interface {
	// Save keeps data under a name of at most 90 printable characters, in the place of
	// what is there, until after a crash; nil deletes it.
	Save(name string, data []byte) error
	// Saved returns the data under a name, nil if there is none.
	Saved(name string) ([]byte, error)
	// Names returns the names that begin with prefix.
	Names(prefix string) ([]string, error)
}

// A savedMap is a map of which each entry is saved to a state store when it changes. What
// could not be saved is tried again: a publication that was ended while the disk was full
// must not come back with the next start. Goroutines may share it.
type savedMap[V any] struct {
	prefix string              // of the names in the state store; constant
	encode func(Key, V) []byte // nil: the entry is not saved; called with mu held; constant
	state  StateStore          // nil: entries end with the process; constant once load has returned

	mu      sync.Mutex // guards the fields below, and the entries; held during no call to state
	by      map[Key]V
	unsaved map[Key]struct{} // the state store has another value of these

	// saving orders the writes of one key: it is held during them, and locked before mu.
	saving [256]sync.Mutex
}

func (m *savedMap[V]) init(prefix string, encode func(Key, V) []byte) {
	m.prefix, m.encode = prefix, encode
	m.by, m.unsaved = make(map[Key]V), make(map[Key]struct{})
}

// get returns the entry at a key.
func (m *savedMap[V]) get(at Key) (v V, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok = m.by[at]
	return v, ok
}

// remove deletes the entry at a key and reports whether there was one.
func (m *savedMap[V]) remove(at Key) (removed bool, err error) {
	m.mu.Lock()
	_, removed = m.by[at]
	delete(m.by, at)
	m.mu.Unlock()
	if !removed {
		return false, nil
	}
	return true, m.save(at)
}

// save brings the state store up to date with the entry at a key.
func (m *savedMap[V]) save(at Key) error {
	if m.state == nil {
		return nil
	}
	order := &m.saving[at.Key[0]]
	order.Lock()
	defer order.Unlock()
	var data []byte
	m.mu.Lock()
	if v, ok := m.by[at]; ok {
		data = m.encode(at, v)
	}
	m.mu.Unlock()
	err := m.state.Save(m.prefix+at.String(), data)
	m.mu.Lock()
	if err != nil {
		m.unsaved[at] = struct{}{}
	} else {
		delete(m.unsaved, at)
	}
	m.mu.Unlock()
	if err != nil {
		return fmt.Errorf("cannot save the state %s%s: %w", m.prefix, at, err)
	}
	return nil
}

// saveAgain saves entries that could not be saved before, until the first error.
func (m *savedMap[V]) saveAgain() {
	m.mu.Lock()
	unsaved := slices.Collect(maps.Keys(m.unsaved))
	m.mu.Unlock()
	for _, at := range unsaved {
		if m.save(at) != nil {
			return
		}
	}
}

// load calls take with each saved entry and returns the errors. Later changes are saved to
// state.
func (m *savedMap[V]) load(state StateStore, take func(data []byte) error) (errs []error) {
	err := readStates(state, m.prefix, func(name string, data []byte) {
		if err := take(data); err != nil {
			errs = append(errs, fmt.Errorf("state %q: %w", name, err))
		}
	})
	if err != nil {
		errs = append(errs, err)
	}
	m.state = state
	return errs
}

// loadOrDelete is load for entries that are deleted if take returns false.
func (m *savedMap[V]) loadOrDelete(state StateStore, take func(data []byte) bool) {
	readStates(state, m.prefix, func(name string, data []byte) {
		if !take(data) {
			state.Save(name, nil)
		}
	})
	m.state = state
}

// readStates calls f with each state whose name begins with prefix. The data of a damaged
// one is empty.
func readStates(state StateStore, prefix string, f func(name string, data []byte)) error {
	names, err := state.Names(prefix)
	for _, name := range names {
		data, derr := state.Saved(name)
		if derr == nil && data == nil {
			continue // deleted just now
		}
		f(name, data)
	}
	if err != nil {
		return fmt.Errorf("cannot list the states %s: %w", strings.TrimSuffix(prefix, "/"), err)
	}
	return nil
}
