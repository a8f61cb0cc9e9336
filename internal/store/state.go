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
	return d.SaveAll(State{name, data})
}

// A State is a small named state, as [Disk.Save] keeps it.
type State struct {
	Name string
	Data []byte
}

// SaveAll is Save for several states, by one transaction: all of them are saved or none,
// and the disk is waited for once.
func (d *Disk) SaveAll(states ...State) error {
	var ws []*waiter
	for _, s := range states {
		if s.Name == "" || len(s.Name) > maxName || len(s.Data) > maxState {
			return fmt.Errorf("save state %.64q of %d bytes: want a name of 1 to %d bytes and at most %d", s.Name, len(s.Data), maxName, maxState)
		}
		ws = append(ws, &waiter{name: s.Name, data: s.Data})
	}
	if len(ws) == 0 {
		return nil
	}
	if d.enter(ws...); ws[0].err != nil {
		return fmt.Errorf("save state %q: %w", ws[0].name, &ReadOnlyError{d.path, ws[0].err})
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
