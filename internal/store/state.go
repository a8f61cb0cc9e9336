package store

import (
	"bytes"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// Save keeps a small named state beside the records, at most 16 MiB, and returns
// when it would outlive a crash; nil data deletes it. The error wraps
// wire.CodeReadOnly when the disk cannot be written at present.
func (d *Disk) Save(name string, data []byte) error {
	if name == "" || len(name) > maxName || len(data) > maxState {
		return fmt.Errorf("save state %.64q of %d bytes: want a name of 1 to %d bytes and at most %d", name, len(data), maxName, maxState)
	}
	w := &waiter{name: name, data: data}
	if d.enter(w); w.err != nil {
		return fmt.Errorf("save state %q: %w", name, &ReadOnlyError{d.path, w.err})
	}
	return nil
}

// Saved returns a copy of the state of that name, nil if there is none. The error
// is a *DamagedError if it is damaged; then it is as good as lost.
func (d *Disk) Saved(name string) (data []byte, err error) {
	err = d.view(func(tx *bolt.Tx) error {
		value := tx.Bucket(stateBucket).Get([]byte(name))
		if value == nil {
			return nil
		}
		got, b, _, err := parseState(value)
		if err != nil || got != name {
			return &DamagedError{d.path, -1, fmt.Sprintf("state %q: %v", name, orWrongName(err))}
		}
		data = append([]byte{}, b...)
		return nil
	})
	return data, err
}

// Names returns the names of all states that begin with prefix, in order.
func (d *Disk) Names(prefix string) (names []string, err error) {
	err = d.view(func(tx *bolt.Tx) error {
		c := tx.Bucket(stateBucket).Cursor()
		p := []byte(prefix)
		for k, _ := c.Seek(p); k != nil && bytes.HasPrefix(k, p); k, _ = c.Next() {
			names = append(names, string(k))
		}
		return nil
	})
	return names, err
}
