package control

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/kadquic/kadquic/node"
)

// A keeper is a fake that has a database.
type keeper struct {
	fake
	backup  func(context.Context, io.Writer) error
	restore func(context.Context, io.Reader) (Merged, error)
}

func (k *keeper) Backup(ctx context.Context, w io.Writer) error { return k.backup(ctx, w) }
func (k *keeper) Restore(ctx context.Context, r io.Reader) (Merged, error) {
	return k.restore(ctx, r)
}

func TestBytesTravelWhole(t *testing.T) {
	want := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
	serve(t, &keeper{
		backup: func(_ context.Context, w io.Writer) error {
			_, err := io.Copy(w, bytes.NewReader(want))
			return err
		},
		restore: func(_ context.Context, r io.Reader) (Merged, error) {
			got, err := io.ReadAll(r)
			if !bytes.Equal(got, want) {
				t.Errorf("%d bytes arrived as %d", len(want), len(got))
			}
			return Merged{Records: 3}, err
		},
	}, func(t *testing.T, c *Client, _ func() time.Duration) {
		var got bytes.Buffer
		if err := c.Backup(t.Context(), &got); err != nil || !bytes.Equal(got.Bytes(), want) {
			t.Errorf("Backup: %d bytes of %d, %v", got.Len(), len(want), err)
		}
		if m, err := c.Restore(t.Context(), bytes.NewReader(want)); err != nil || m.Records != 3 {
			t.Errorf("Restore: %v, %v", m, err)
		}
	})
}

// A backup that fails, at once or half way, is never taken for a whole one.
func TestBackupFails(t *testing.T) {
	for _, before := range []string{"", "the first pages"} {
		serve(t, &keeper{backup: func(_ context.Context, w io.Writer) error {
			io.WriteString(w, before)
			return node.ErrNotFound
		}}, func(t *testing.T, c *Client, _ func() time.Duration) {
			var got strings.Builder
			if err := c.Backup(t.Context(), &got); !errors.Is(err, node.ErrNotFound) || got.String() != before {
				t.Errorf("after %q: %q, %v", before, &got, err)
			}
		})
	}
	if err := answering(http.StatusOK, "half a database").Backup(t.Context(), io.Discard); !errors.Is(err, ErrCut) {
		t.Errorf("cut off: %v", err)
	}
	full := errors.New("disk full")
	serve(t, &keeper{backup: func(_ context.Context, w io.Writer) error {
		_, err := w.Write(make([]byte, 1<<20))
		return err
	}}, func(t *testing.T, c *Client, _ func() time.Duration) {
		if err := c.Backup(t.Context(), failingWriter{full}); !errors.Is(err, full) {
			t.Errorf("nowhere to write: %v", err)
		}
	})
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

// What cannot be read is not restored, and the caller hears which end failed.
func TestRestoreFails(t *testing.T) {
	gone := errors.New("disk is gone")
	serve(t, &keeper{restore: func(_ context.Context, r io.Reader) (Merged, error) {
		_, err := io.Copy(io.Discard, r)
		if err == nil {
			t.Error("half of it passed for the whole")
		}
		return Merged{}, err
	}}, func(t *testing.T, c *Client, _ func() time.Duration) {
		half := io.MultiReader(bytes.NewReader(make([]byte, 100_000)), iotest.ErrReader(gone))
		if _, err := c.Restore(t.Context(), half); !errors.Is(err, gone) {
			t.Errorf("%v, want the reader's error", err)
		}
	})
	serve(t, &keeper{restore: func(_ context.Context, r io.Reader) (Merged, error) {
		io.Copy(io.Discard, r)
		return Merged{}, node.ErrClosed
	}}, func(t *testing.T, c *Client, _ func() time.Duration) {
		if _, err := c.Restore(t.Context(), strings.NewReader("x")); !errors.Is(err, node.ErrClosed) {
			t.Errorf("%v, want the node's error", err)
		}
	})
}

// A value found before the time was over stands beside the error.
func TestValueBesideError(t *testing.T) {
	serve(t, &finder{}, func(t *testing.T, c *Client, _ func() time.Duration) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		v, err := c.Get(ctx, Get{Kind: Kind(1)})
		if string(v.Data) != "old" || !errors.Is(err, ErrTimeOver) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Get = %q, %v", v.Data, err)
		}
		if ctx.Err() != nil {
			t.Error("the answer came too late for the caller")
		}
	})
}

// A finder has found something when its time is over.
type finder struct{ fake }

func (*finder) Get(ctx context.Context, _ Get) (Value, error) {
	<-ctx.Done()
	return Value{Kind: Kind(1), Data: []byte("old")}, ctx.Err()
}
