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
	"time"

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

func offerOf(name, text string) Offer {
	return Offer{Name: name, Size: int64(len(text)), Sum: sumOf(text)}
}

// Pieces come in any order, some of them twice: those that join on are taken, until the file
// is whole.
func TestPieces(t *testing.T) {
	dir, path := open(t)
	rapid.Check(t, func(t *rapid.T) {
		const text = "the whole of it"
		p, err := Create(dir, "a to b", offerOf("x", text))
		if err != nil {
			t.Fatal(err)
		}
		defer os.Remove(filepath.Join(path, "x"))
		defer p.Cancel(fs.ErrClosed)
		for {
			a, err := p.Have()
			have := a.Have
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
	p, err := Create(dir, "", offerOf("x", "hi"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err = p.WriteAt([]byte("ho"), 0); !errors.Is(err, ErrSum) {
		t.Errorf("another sum: %v", err)
	}
	if _, err = p.WriteAt([]byte("hi"), 0); !errors.Is(err, ErrSum) {
		t.Errorf("after the end: %v", err)
	}
	if _, err = Create(dir, "", Offer{Name: "x", Sum: sumOf("hi")}); !errors.Is(err, ErrSum) {
		t.Errorf("an empty one of another sum: %v", err)
	}
	if p, err = Create(dir, "", offerOf("x", "hi")); err != nil {
		t.Fatal(err)
	}
	if _, err = p.WriteAt([]byte("high"), 0); !errors.Is(err, ErrPlace) {
		t.Errorf("more than was announced: %v", err)
	}
	p.Cancel(fs.ErrClosed)
	p.Cancel(nil)
	if have, err := p.Have(); have.Have != 0 || !errors.Is(err, fs.ErrClosed) {
		t.Errorf("given up: %v, %v", have, err)
	}
	if got := names(t, path); got != "" {
		t.Errorf("there are %s", got)
	}
}

// No existing file is replaced, whenever it was created.
func TestNamesAreKept(t *testing.T) {
	dir, path := open(t)
	p, err := Create(dir, "", offerOf("x", "hi"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(path, "x"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err = p.WriteAt([]byte("hi"), 0); !errors.Is(err, fs.ErrExist) {
		t.Errorf("in place of another: %v", err)
	}
	if _, err = Create(dir, "", offerOf("x", "hi")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("in place of another: %v", err)
	}
	for _, name := range []string{"", ".", "..", ".profile", "a/b", "/x", "a\n", "\u202ex", "\xff"} {
		if _, err := Create(dir, "", Offer{Name: name, Size: 1}); !errors.Is(err, ErrName) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := Create(dir, "", Offer{Name: strings.Repeat("x", 5000), Size: 1}); err == nil || strings.Contains(err.Error(), "xx") {
		t.Errorf("a name that is too long: %v", err)
	}
	if got, _ := os.ReadFile(filepath.Join(path, "x")); string(got) != "mine" || names(t, path) != "x" {
		t.Errorf("%q, %s", got, names(t, path))
	}
}

func TestInbox(t *testing.T) {
	dir, path := open(t)
	var b Inbox
	cancel := func() bool { _, ok := b.Cancel(fs.ErrClosed); return ok }
	if _, ok := b.Pending(); ok || cancel() || b.Accept(dir, "") != nil || b.Decided() != 0 {
		t.Error("an empty inbox has something")
	}
	x, y, bad := offerOf("x", "hi"), offerOf("y", "hi"), offerOf("../z", "hi")
	x.ID, y.ID, bad.ID = 5, 1, 2
	if !b.Offered(x) || b.Offered(x) {
		t.Error("an offer is new once")
	}
	if p, err := b.Part(); p != nil || err != nil || names(t, path) != "" {
		t.Errorf("before it was accepted: %v, %v", p, err)
	}
	if x.ID = 6; b.Offered(x) || b.Decided() != 0 {
		t.Error("the sender has started again: it is the same file")
	}
	if err := b.Accept(dir, ""); err != nil || b.Offered(x) || b.Decided() != 6 {
		t.Fatal(err)
	}
	if x.ID = 0; b.Offered(x) {
		t.Error("and while it comes")
	}
	p, err := b.Part()
	if p == nil || err != nil {
		t.Fatal(err)
	}
	if !b.Offered(y) || b.Decided() != 0 {
		t.Error("the next offer")
	}
	if _, err := p.Have(); err == nil {
		t.Error("two are kept")
	}
	if o, ok := b.Pending(); !ok || o.Name != "y" || !cancel() || cancel() {
		t.Error("a pending offer is cancelled once")
	}
	if p, err := b.Part(); p != nil || !errors.Is(err, fs.ErrClosed) || !errors.Is(b.Accept(dir, ""), fs.ErrClosed) {
		t.Errorf("a cancelled offer: %v, %v", p, err)
	}
	b.Offered(bad)
	if _, ok := b.Pending(); ok || !errors.Is(b.Accept(dir, ""), ErrName) {
		t.Error("a bad name can be accepted")
	}
	if b.Decided() != 2 {
		t.Error("the sender of a bad name waits")
	}
	y.ID = 3
	if b.Offered(y); b.Accept(dir, "") != nil || b.Decided() != 3 || !cancel() || names(t, path) != "" {
		t.Errorf("there are %s", names(t, path))
	}
}

// A program that was killed left bytes: the next one goes on behind them, if both ends,
// the name, the size and the sum are the same, and the sender finds them right.
func TestResume(t *testing.T) {
	const text = "the whole of it"
	sourceOf := func() *Source {
		path := filepath.Join(t.TempDir(), "x")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	for what, c := range map[string]struct {
		left        string // on disk
		have, begin int64
	}{
		"nothing":    {"", 0, 0},
		"a part":     {text[:5], 5, 5},
		"the whole":  {text, int64(len(text)), int64(len(text))},
		"damaged":    {"thE w", 5, 0},
		"all zero":   {"\x00\x00\x00", 3, 0},
		"too much":   {text + "!", 0, 0},
		"other text": {"THE WHOLE OF IT", 0, 0},
	} {
		t.Run(what, func(t *testing.T) {
			dir, path := open(t)
			killed, err := Create(dir, "a to b", offerOf("x", text))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(path, killed.temp), []byte(c.left), 0o600); err != nil {
				t.Fatal(err)
			}
			p, err := Create(dir, "a to b", offerOf("x", text))
			if err != nil {
				t.Fatal(err)
			}
			have, err := p.Receive(t.Context(), nil, nil, Ask{}, nil)
			if have.Have != c.have || err != nil || have.Wait {
				t.Fatalf("%+v is here, %v; want %d", have, err, c.have)
			}
			from := sourceOf().From(have)
			if from != c.begin {
				t.Fatalf("goes on at %d, want %d", from, c.begin)
			}
			if from < int64(len(text)) {
				if n, err := p.WriteAt([]byte(text[from:]), from); err != nil {
					t.Fatalf("%d, %v", n, err)
				}
			}
			if where, ok := p.Announce(); !ok || where != filepath.Join(path, "x") {
				t.Errorf("it is at %q", where)
			}
			if _, ok := p.Announce(); ok {
				t.Error("announced twice")
			}
			if got, err := os.ReadFile(filepath.Join(path, "x")); err != nil || string(got) != text || names(t, path) != "x" {
				t.Errorf("%q, %v; there are %s", got, err, names(t, path))
			}
		})
	}
	dir, _ := open(t)
	p, err := Create(dir, "a to b", offerOf("x", text))
	if err != nil {
		t.Fatal(err)
	}
	longer := offerOf("x", text)
	longer.Size++
	for from, o := range map[string]Offer{"c to b": offerOf("x", text), "a to b": offerOf("y", text), "a to b ": offerOf("x", "other"), "a to b  ": longer} {
		if other, err := Create(dir, strings.TrimSpace(from), o); err != nil || other.temp == p.temp {
			t.Errorf("%q of %s goes on with another's part: %v", o.Name, from, err)
		}
	}
}

// An honest sender's place does not depend on what a receiver says.
func TestFromIsBounded(t *testing.T) {
	s := Source{Offer: Offer{Size: 5}}
	for have, want := range map[int64]int64{-1: 0, 0: 0, 3: 3, 5: 5, 6: 0, 1 << 62: 0, -1 << 63: 0} {
		if got := s.From(Answer{Have: have}); got != want {
			t.Errorf("%d: %d, want %d", have, got, want)
		}
	}
}

func TestOpenDir(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b")
	dir, err := OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Create(dir, "", offerOf("x", "hi"))
	if err != nil {
		t.Fatal(err)
	}
	dir.Close()
	old := time.Now().Add(-abandoned - time.Hour)
	stranger := "." + strings.Repeat("A", 25) + ".part"
	for _, name := range []string{stranger, ".rc", "file", "old.part"} {
		if err := os.WriteFile(filepath.Join(path, name), []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(filepath.Join(path, name), old, old); err != nil {
			t.Fatal(err)
		}
	}
	if dir, err = OpenDir(path); err != nil {
		t.Fatal(err)
	}
	if _, err := dir.Lstat(p.temp); err != nil {
		t.Errorf("a part of today is gone: %v", err)
	}
	dir.Close()
	if err := os.Chtimes(filepath.Join(path, p.temp), old, old); err != nil {
		t.Fatal(err)
	}
	if dir, err = OpenDir(path); err != nil {
		t.Fatal(err)
	}
	dir.Close()
	if got := names(t, path); got != stranger+" .rc file old.part" {
		t.Errorf("there are %s", got)
	}
	if _, err := OpenDir(filepath.Join(path, "file")); err == nil {
		t.Error("a file is opened as a directory")
	}
}
