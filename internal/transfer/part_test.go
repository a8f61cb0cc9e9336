package transfer

import (
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func open(t interface {
	Fatal(...any)
	TempDir() string
}) (dir *os.Root, path string) {
	path = t.TempDir()
	dir, err := os.OpenRoot(path)
	if err != nil {
		t.Fatal(err)
	}
	return dir, path
}

// names lists a directory.
func names(t *testing.T, path string) string {
	t.Helper()
	entries, err := os.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

func sumOf(s string) []byte {
	sum := sha256.Sum256([]byte(s))
	return sum[:]
}

// Whatever pieces come in whatever order, some of them twice: those that join on are
// taken, until the file is whole.
func TestPieces(t *testing.T) {
	dir, path := open(t)
	rapid.Check(t, func(t *rapid.T) {
		const text = "the whole of it"
		p, err := Create(dir, "x", int64(len(text)), sumOf(text))
		if err != nil {
			t.Fatal(err)
		}
		defer os.Remove(filepath.Join(path, "x"))
		defer p.Cancel(fs.ErrClosed)
		for {
			have, err := p.Have()
			if err != nil {
				t.Fatal(err)
			}
			if have == int64(len(text)) {
				break
			}
			from := rapid.Int64Range(0, have+1).Draw(t, "from")
			to := rapid.Int64Range(from, int64(len(text))).Draw(t, "to")
			n, err := io.NewOffsetWriter(p, from).Write([]byte(text[from:to]))
			if from == have && to > from && (err != nil || n != int(to-from)) || from != have && !errors.Is(err, ErrPlace) {
				t.Fatalf("%d to %d, where %d are: %d, %v", from, to, have, n, err)
			}
		}
		if got, err := os.ReadFile(filepath.Join(path, "x")); err != nil || string(got) != text {
			t.Fatalf("%q, %v", got, err)
		}
	})
	if got := names(t, path); got != "" {
		t.Errorf("there are %s", got)
	}
}

func TestNothingStaysOfAFailure(t *testing.T) {
	dir, path := open(t)
	p, err := Create(dir, "x", 2, sumOf("hi"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err = p.WriteAt([]byte("ho"), 0); !errors.Is(err, ErrSum) {
		t.Errorf("another sum: %v", err)
	}
	if _, err = p.WriteAt([]byte("hi"), 0); !errors.Is(err, ErrSum) {
		t.Errorf("after the end: %v", err)
	}
	if _, err = Create(dir, "x", 0, sumOf("hi")); !errors.Is(err, ErrSum) {
		t.Errorf("an empty one of another sum: %v", err)
	}
	if p, err = Create(dir, "x", 2, sumOf("hi")); err != nil {
		t.Fatal(err)
	}
	if _, err = p.WriteAt([]byte("high"), 0); !errors.Is(err, ErrPlace) {
		t.Errorf("more than was announced: %v", err)
	}
	p.Cancel(fs.ErrClosed)
	p.Cancel(nil)
	if have, err := p.Have(); have != 0 || !errors.Is(err, fs.ErrClosed) {
		t.Errorf("given up: %d, %v", have, err)
	}
	if got := names(t, path); got != "" {
		t.Errorf("there are %s", got)
	}
}

// Nothing is replaced, whenever it came.
func TestNamesAreKept(t *testing.T) {
	dir, path := open(t)
	p, err := Create(dir, "x", 2, sumOf("hi"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(path, "x"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err = p.WriteAt([]byte("hi"), 0); !errors.Is(err, fs.ErrExist) {
		t.Errorf("in place of another: %v", err)
	}
	if _, err = Create(dir, "x", 2, sumOf("hi")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("in place of another: %v", err)
	}
	for _, name := range []string{"", ".", "..", ".profile", "a/b", "/x", "a\n", "\u202ex", "\xff"} {
		if _, err := Create(dir, name, 1, nil); !errors.Is(err, ErrName) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := Create(dir, strings.Repeat("x", 5000), 1, nil); err == nil || strings.Contains(err.Error(), "xx") {
		t.Errorf("a name that is too long: %v", err)
	}
	if got, _ := os.ReadFile(filepath.Join(path, "x")); string(got) != "mine" || names(t, path) != "x" {
		t.Errorf("%q, %s", got, names(t, path))
	}
}

func TestInbox(t *testing.T) {
	dir, path := open(t)
	var b Inbox
	b.Cancel(nil)
	if _, err := b.Part(nil, 0, "x", 2, sumOf("hi")); err == nil {
		t.Error("taken into no directory")
	}
	p, err := b.Part(dir, 0, "x", 2, sumOf("hi"))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := b.Part(dir, 0, "x", 2, sumOf("hi")); again != p || err != nil {
		t.Errorf("the same offer: %v", err)
	}
	if _, err := b.Part(dir, 1, "y", 2, sumOf("hi")); err != nil {
		t.Error(err)
	}
	if _, err := p.Have(); err == nil {
		t.Error("two are kept")
	}
	if _, err := b.Part(dir, 2, "../z", 2, sumOf("hi")); !errors.Is(err, ErrName) {
		t.Error(err)
	}
	b.Cancel(fs.ErrClosed)
	if got := names(t, path); got != "" {
		t.Errorf("there are %s", got)
	}
}
