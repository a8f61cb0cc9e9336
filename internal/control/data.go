package control

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/kadquic/kadquic/node"
)

func (l *local) Backup(_ context.Context, w io.Writer) error {
	return l.node.Backup(w)
}

// Restore keeps the copy in the profile for as long as it reads it.
func (l *local) Restore(ctx context.Context, r io.Reader) (Merged, error) {
	if l.options.Data == "" {
		return Merged{}, fmt.Errorf("restore: %w", node.ErrNoData)
	}
	f, err := os.CreateTemp(l.options.Data, ".restore-*") // 0600
	if err != nil {
		return Merged{}, fmt.Errorf("restore: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = io.Copy(f, r)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return Merged{}, fmt.Errorf("restore: %w", err)
	}
	m, err := l.node.Merge(ctx, f.Name())
	if err != nil {
		return Merged{}, err
	}
	return Merged(m), nil
}
