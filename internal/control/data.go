package control

import (
	"context"
	"fmt"
	"io"
	"os"
)

func (l *local) Backup(_ context.Context, w io.Writer) error {
	if l.options.Data == "" {
		return badRequest("this node keeps nothing on disk")
	}
	if n, ok := any(l.node).(interface{ Backup(io.Writer) error }); ok {
		return n.Backup(w)
	}
	return badRequest("this node keeps nothing on disk")
}

// Restore keeps the copy in the profile for as long as it reads it.
func (l *local) Restore(ctx context.Context, r io.Reader) (Merged, error) {
	if l.options.Data == "" {
		return Merged{}, badRequest("this node keeps nothing on disk")
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
	return Merged{}, badRequest("this node keeps nothing on disk")
}
